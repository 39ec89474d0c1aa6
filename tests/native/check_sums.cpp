// window_sums against obvious loops: random shapes, strides, dilations.
#include <cstdio>
#include <random>
#include <vector>

#include "isa.h"
#include "sums.h"

namespace {

std::mt19937_64 rng(1);
int64_t pick(int64_t low, int64_t high) { return low + static_cast<int64_t>(rng() % static_cast<uint64_t>(high - low + 1)); }

bool windows_are_right() {
    WindowSums t{};
    t.planes = pick(0, 4), t.kh = pick(1, 3), t.kw = pick(1, 3), t.sy = pick(1, 3), t.sx = pick(1, 3), t.dy = pick(1, 3), t.dx = pick(1, 3);
    t.out_height = pick(1, 9), t.out_width = pick(1, 20), t.threads = 2;
    t.height = (t.out_height - 1) * t.sy + (t.kh - 1) * t.dy + 1 + pick(0, 2);
    t.width = (t.out_width - 1) * t.sx + (t.kw - 1) * t.dx + 1 + pick(0, 2);
    std::vector<int32_t> sums(t.planes * t.height * t.width), box(t.planes * t.out_height * t.out_width);
    for (auto& x : sums) x = static_cast<int32_t>(pick(-9999, 9999));
    t.sums = sums.data(), t.box = box.data();
    window_sums(t);
    for (int64_t i = 0; i < static_cast<int64_t>(box.size()); ++i) {
        const int64_t x = i % t.out_width, y = i / t.out_width % t.out_height, plane = i / (t.out_width * t.out_height);
        int32_t expected = 0;
        for (int64_t ky = 0; ky < t.kh; ++ky)
            for (int64_t kx = 0; kx < t.kw; ++kx) expected += sums[(plane * t.height + y * t.sy + ky * t.dy) * t.width + x * t.sx + kx * t.dx];
        if (box[i] != expected) return false;
    }
    return true;
}

}  // namespace

int main() {
    int failures = 0;
    for (int i = 0; i < 300; ++i) failures += !windows_are_right();
    std::printf("sums: %s, %d failures\n", isa_name(chosen_isa()), failures);
    return failures != 0;
}
