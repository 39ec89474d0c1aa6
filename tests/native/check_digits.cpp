// digit_conv against its obvious loops: random shapes, strides, paddings, dilations, groups, passes, threads.
#include <algorithm>
#include <cstdio>
#include <random>

#include "digits.h"
#include "isa.h"

namespace {

std::mt19937_64 rng(1);
int64_t pick(int64_t low, int64_t high) { return low + static_cast<int64_t>(rng() % static_cast<uint64_t>(high - low + 1)); }

struct Case {
    DigitConv conv{};
    std::vector<float> values, scale, out, expected;
    std::vector<uint8_t> codes, tables, largest;
    std::vector<int32_t> addend;
    std::vector<int64_t> constant, sums, expected_sums;
    std::vector<int8_t> v;
    std::vector<DigitPass> passes;
    int64_t outputs;

    void shape() {
        ConvShape& p = conv.shape;
        p.groups = pick(0, 2) ? 1 : pick(2, 5);
        p.n = pick(0, 3), p.c = p.groups * (pick(0, 3) ? pick(1, 9) : pick(10, 40)), p.h = pick(1, 12), p.w = pick(1, 24);
        p.kh = pick(1, 5), p.kw = pick(1, 6), p.sy = pick(1, 3), p.sx = pick(1, 3), p.dy = pick(1, 2), p.dx = pick(1, 3);
        if (pick(0, 4) == 0) p.c = p.groups = pick(2, 20);                     // depthwise
        if (pick(0, 4) == 0) p.kh = p.kw = 1;
        if (pick(0, 4) == 0) p.w = 16 * pick(1, 2), p.sx = 1;
        if (pick(0, 30) == 0) p.h = p.w = 300, p.c = p.depth() > 1 ? 8 * p.groups : p.groups, p.n = 1;     // several bands
        p.top = pick(0, 2), p.left = pick(0, 2);
        if (pick(0, 4) == 0) p.h = p.w = p.kh = p.kw = p.groups = 1, p.top = p.left = 0, p.n = pick(0, 40), p.c = pick(1, 200);
        while (p.h + 2 * p.top < p.dy * (p.kh - 1) + 1) ++p.h;
        while (p.w + 2 * p.left < p.dx * (p.kw - 1) + 1) ++p.w;
        p.out_height = (p.h + 2 * p.top - p.dy * (p.kh - 1) - 1) / p.sy + 1;
        p.out_width = (p.w + 2 * p.left - p.dx * (p.kw - 1) - 1) / p.sx + 1;
        outputs = p.groups * (pick(0, 3) ? pick(1, p.c == p.groups ? 2 : 8) : pick(9, p.groups == 1 ? 150 : 20));
    }

    void operands() {
        const ConvShape& p = conv.shape;
        const int planes = static_cast<int>(pick(0, 3));
        for (int i = 0; i < planes; ++i) passes.push_back({i, 0});
        if (planes && pick(0, 2) == 0) passes.push_back({0, 8}), passes.push_back({planes - 1, 16});
        tables.resize(planes * 256), largest.resize(planes);
        for (auto& x : tables) x = static_cast<uint8_t>(pick(0, 3) ? rng() : 255);
        for (int i = 0; i < planes * 256; ++i) largest[i / 256] = std::max(largest[i / 256], tables[i]);
        v.resize(passes.size() * outputs * p.taps());
        for (auto& x : v) x = static_cast<int8_t>(pick(0, 3) ? rng() : 127);
        if (pick(0, 5) == 0) std::fill(v.begin(), v.begin() + v.size() / 2, int8_t{0});   // taps that nobody needs
        values.resize(p.n * p.c * p.h * p.w), codes.resize(values.size());
        for (auto& x : values) x = static_cast<float>(pick(-900, 900)) / 100;
        for (auto& x : codes) x = static_cast<uint8_t>(rng());
        constant.resize(outputs), scale.resize(outputs);
        for (auto& x : constant) x = pick(-1000000, 1000000);
        for (auto& x : scale) x = static_cast<float>(pick(1, 1000)) / 777;
        addend.resize(256);
        const int64_t kind = pick(0, 3);
        for (int i = 0; i < 256; ++i) addend[i] = static_cast<int32_t>(kind == 0 ? 100 - 7 * i : kind == 1 ? pick(0, 255) : pick(-70000, 70000));
    }

    void fill() {
        shape(), operands();
        const int low = pick(0, 1) ? 0 : -128;
        conv.quantization = {0.05f, static_cast<int>(pick(low, low + 200)), low, low + 255};
        conv.values = pick(0, 2) ? values.data() : nullptr, conv.codes = codes.data(), conv.halo_code = static_cast<uint8_t>(rng());
        conv.tables = tables.data(), conv.addend = pick(0, 1) ? addend.data() : nullptr, conv.constant = constant.data();
        conv.scale = pick(0, 2) ? scale.data() : nullptr, conv.threads = static_cast<int>(pick(1, 3));
        bool shifted = false;
        for (const auto& pass : passes) shifted = shifted || pass.shift;
        conv.bound = shifted || pick(0, 1) ? int64_t{1} << 40 : 2000000000;
        out.resize(conv.shape.n * outputs * conv.shape.pixels()), expected = out;
        sums.resize(out.size()), expected_sums = sums;
    }

    bool right() {
        const ConvShape& p = conv.shape;
        const DigitWeights weights(v.data(), passes, outputs, p.groups, p.depth(), p.kh, p.kw, largest);
        conv.out = expected.data(), digit_conv_reference(weights, conv);
        conv.out = out.data(), digit_conv(weights, conv);
        conv.out = nullptr, conv.integers = expected_sums.data(), digit_conv_reference(weights, conv);
        conv.integers = sums.data(), digit_conv(weights, conv);
        return out == expected && sums == expected_sums;
    }
};

// One output whose sum passes 2^31 several times over: 600,000 products of 255 and 127.
bool long_sums_are_right() {
    Case c;
    ConvShape& p = c.conv.shape;
    p.n = p.groups = p.h = p.w = p.kh = p.kw = p.sy = p.sx = p.dy = p.dx = p.out_height = p.out_width = 1, p.c = 600000;
    c.passes = {{0, 0}}, c.largest = {255}, c.v.assign(p.c, 127), c.tables.assign(256, 255), c.codes.assign(p.c, 3);
    c.constant = {-255}, c.conv.bound = int64_t{1} << 40, c.conv.threads = 1;
    c.conv.codes = c.codes.data(), c.conv.tables = c.tables.data(), c.conv.constant = c.constant.data();
    int64_t sum = 0;
    c.conv.integers = &sum;
    const DigitWeights weights(c.v.data(), c.passes, 1, 1, p.c, 1, 1, c.largest);
    digit_conv(weights, c.conv);
    return sum == int64_t{255} * 127 * 600000 - 255 && weights.blocks.size() > 8;
}

}  // namespace

int main() {
    int failures = !long_sums_are_right();
    for (int i = 0; i < 300; ++i) {
        Case c;
        c.fill();
        if (c.right()) continue;
        const ConvShape& p = c.conv.shape;
        std::printf("case %d differs: [%ld, %ld, %ld, %ld] x [%ld, %ld, %ld, %ld], stride %ld %ld, groups %ld\n", i, long(p.n), long(p.c),
                    long(p.h), long(p.w), long(c.outputs), long(p.depth()), long(p.kh), long(p.kw), long(p.sy), long(p.sx), long(p.groups));
        ++failures;
    }
    std::printf("digits: %s, %d failures\n", isa_name(chosen_isa()), failures);
    return failures != 0;
}
