// channel_sums and window_sums against obvious loops: random shapes, scales, addends, windows, threads.
#include <cstdio>
#include <random>
#include <vector>

#include "isa.h"
#include "sums.h"

namespace {

std::mt19937_64 rng(1);
int64_t pick(int64_t low, int64_t high) { return low + static_cast<int64_t>(rng() % static_cast<uint64_t>(high - low + 1)); }

bool channels_are_right() {
    ChannelSums t{};
    t.n = pick(0, 2), t.groups = pick(1, 4), t.c = t.groups * pick(1, 5), t.h = pick(1, 6), t.w = pick(1, 40);
    t.top = pick(0, 2), t.left = pick(0, 2), t.threads = static_cast<int>(pick(1, 3)), t.halo = static_cast<uint8_t>(pick(0, 255));
    const int low = pick(0, 1) ? 0 : -128, high = low + static_cast<int>(pick(1, 255));
    t.quantization = {0.031f, static_cast<int>(pick(low, high)), low, high};
    std::vector<float> values(t.n * t.c * t.h * t.w);
    for (auto& x : values) x = pick(0, 9) ? static_cast<float>(pick(-600, 600)) / 100 : 0.031f * (static_cast<float>(pick(-300, 300)) + 0.5f);
    std::vector<int32_t> addend(256);
    for (auto& x : addend) x = static_cast<int32_t>(pick(-100000, 100000));
    const int64_t height = t.h + 2 * t.top, width = t.w + 2 * t.left;
    std::vector<int32_t> sums(t.n * t.groups * height * width);
    t.values = values.data(), t.addend = addend.data(), t.sums = sums.data();
    channel_sums(t);
    for (int64_t i = 0; i < static_cast<int64_t>(sums.size()); ++i) {
        const int64_t y = i / width % height - t.top, x = i % width - t.left, plane = i / (height * width);
        int32_t expected = 0;
        for (int64_t c = 0; c < t.c / t.groups; ++c) {
            const bool inside = 0 <= y && y < t.h && 0 <= x && x < t.w;
            const int64_t at = ((plane * (t.c / t.groups) + c) * t.h + y) * t.w + x;
            expected += addend[inside ? t.quantization.index(values[at]) : t.halo];
        }
        if (sums[i] != expected) return false;
    }
    return true;
}

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
    for (int i = 0; i < 300; ++i) failures += !channels_are_right() + !windows_are_right();
    std::printf("sums: %s, %d failures\n", isa_name(chosen_isa()), failures);
    return failures != 0;
}
