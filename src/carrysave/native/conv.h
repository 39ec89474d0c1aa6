#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "isa.h"
#include "parallel.h"

// What the direct convolutions share: a padded copy of the input, and tiles of outputs whose operands are gathered tap by
// tap into vectors, so that the batch's im2col matrix never exists.

struct AlignedFree {
    void operator()(void* p) const { std::free(p); }
};
using AlignedBytes = std::unique_ptr<uint8_t[], AlignedFree>;

// Starts at a multiple of 64, with 64 bytes to spare, not initialised; throws std::bad_alloc.
inline AlignedBytes raw_bytes(int64_t size) {
    void* memory = std::aligned_alloc(64, static_cast<size_t>((size + 63) / 64 * 64 + 64));
    if (!memory) throw std::bad_alloc();
    return AlignedBytes(static_cast<uint8_t*>(memory));
}

// The same, all zero.
inline AlignedBytes aligned_bytes(int64_t size) {
    AlignedBytes bytes = raw_bytes(size);
    std::memset(bytes.get(), 0, static_cast<size_t>((size + 63) / 64 * 64 + 64));
    return bytes;
}

struct ConvShape {
    int64_t n, c, h, w, groups, kh, kw, sy, sx, dy, dx, top, left, out_height, out_width;

    int64_t depth() const { return c / groups; }
    int64_t taps() const { return depth() * kh * kw; }
    int64_t pixels() const { return out_height * out_width; }
};

// The input with its halo, columns split by phase: column x of the padded image is at [x % sx][x / sx], so that what a
// tap needs for neighbouring outputs of a row are neighbours, whatever the stride.
template <class T>
class Padded {
  public:
    T* data;
    std::vector<int64_t> shifts;     // [taps]: from a run's source to the tap's operand

    Padded(const ConvShape& shape, const T* from, T pad, int threads)
        : Padded(shape, from, [](T value) { return value; }, pad, threads) {}

    // With map(value) instead of each value of the input; `pad` as it is.
    template <class From, class Map>
    Padded(const ConvShape& shape, const From* from, const Map& map, T pad, int threads) : p(shape) {
        height = (p.out_height - 1) * p.sy + (p.kh - 1) * p.dy + 1;
        const int64_t width = (p.out_width - 1) * p.sx + (p.kw - 1) * p.dx + 1;
        phase_width = (width + p.sx - 1) / p.sx;
        const int64_t size = p.n * p.c * plane_size() * static_cast<int64_t>(sizeof(T));
        memory = raw_bytes(size + kSlack);
        std::memset(memory.get() + size, 0, kSlack);
        data = reinterpret_cast<T*>(memory.get());
        for (int64_t c = 0; c < p.depth(); ++c)
            for (int64_t ky = 0; ky < p.kh; ++ky)
                for (int64_t kx = 0; kx < p.kw; ++kx)
                    shifts.push_back(c * plane_size() + (ky * p.dy * p.sx + kx * p.dx % p.sx) * phase_width +
                                     kx * p.dx / p.sx);
        parallel_for(p.n * p.c, 8, threads, [&](int64_t begin, int64_t end) {
            for (int64_t plane = begin; plane < end; ++plane)
                fill(from + plane * p.h * p.w, map, pad, data + plane * plane_size());
        });
    }

    // Of the output (n, y, 0)'s tap 0 in this group; outputs to its right follow.
    int64_t source(int64_t n, int64_t group, int64_t y) const {
        return (n * p.c + group * p.depth()) * plane_size() + y * p.sy * p.sx * phase_width;
    }

  private:
    static constexpr int64_t kSlack = 128;   // copies read whole vectors past the end of a run

    ConvShape p;
    int64_t height, phase_width;
    AlignedBytes memory;

    int64_t plane_size() const { return height * p.sx * phase_width; }

    template <class From, class Map>
    void fill(const From* from, const Map& map, T pad, T* to) const {
        for (int64_t y = 0; y < height; ++y)
            for (int64_t phase = 0; phase < p.sx; ++phase) {
                T* row = to + (y * p.sx + phase) * phase_width;
                if (y < p.top || y >= p.top + p.h) {
                    std::fill_n(row, phase_width, pad);
                    continue;
                }
                const From* line = from + (y - p.top) * p.w;
                const int64_t shift = phase - p.left;      // column x of this phase is line[shift + x * sx]
                const int64_t first = shift >= 0 ? 0 : (-shift + p.sx - 1) / p.sx;
                const int64_t beyond = p.w - shift;
                const int64_t last = std::min(phase_width, beyond <= 0 ? 0 : (beyond + p.sx - 1) / p.sx);
                std::fill_n(row, std::min(first, phase_width), pad);
                std::fill(row + std::max<int64_t>(last, 0), row + phase_width, pad);
                if (p.sx == 1)
                    for (int64_t x = first; x < last; ++x) row[x] = map(line[shift + x]);
                else
                    for (int64_t x = first; x < last; ++x) row[x] = map(line[shift + x * p.sx]);
            }
    }
};

// Neighbouring outputs of one row within a tile; all in bytes.
struct Run {
    int64_t to, length, from;
};

// to[i * stride + run.to ..] = from[shifts[i] * element + run.from ..] for all runs. Whole vectors of up to 64 bytes are
// copied: what they write too much lies in lanes that a later run or tap overwrites, or past the last lane wanted.
struct GatherTask {
    const std::vector<Run>& runs;
    int64_t longest;             // run
    const uint8_t* from;
    const int64_t* shifts;       // [taps]
    int64_t element, taps, stride;
    uint8_t* to;
};
void gather(Isa isa, const GatherTask& task);
void gather_avx512(const GatherTask& task);

// `lanes` consecutive outputs, counted along n, y, x.
template <class T>
class Tile {
  public:
    Tile(const ConvShape& p, const Padded<T>& padded_, int64_t group, int64_t first, int64_t lanes) : padded(padded_) {
        constexpr int64_t kSize = sizeof(T);
        for (int64_t lane = 0; lane < lanes;) {
            const int64_t at = first + lane, x = at % p.out_width;
            const int64_t length = std::min(p.out_width - x, lanes - lane);
            const int64_t source = padded.source(at / p.pixels(), group, at % p.pixels() / p.out_width) + x;
            runs.push_back({lane * kSize, length * kSize, source * kSize});
            longest = std::max(longest, length * kSize);
            lane += length;
        }
    }

    // to[i][lane] = the operand of tap + i, i < taps; rows of `width` lanes, and 64 bytes of slack after the last.
    void gather(Isa isa, int64_t tap, int64_t taps, int64_t width, T* to) const {
        ::gather(isa, {runs, longest, reinterpret_cast<const uint8_t*>(padded.data), padded.shifts.data() + tap, sizeof(T), taps,
                       width * static_cast<int64_t>(sizeof(T)), reinterpret_cast<uint8_t*>(to)});
    }

  private:
    const Padded<T>& padded;
    std::vector<Run> runs;
    int64_t longest = 0;
};

// Calls write(lane, count, n, pixel) for each stretch of the lanes that lies in one image.
template <class Write>
void for_each_stretch(const ConvShape& p, int64_t first, int64_t lanes, const Write& write) {
    for (int64_t lane = 0; lane < lanes;) {
        const int64_t n = (first + lane) / p.pixels(), pixel = (first + lane) % p.pixels();
        const int64_t count = std::min(p.pixels() - pixel, lanes - lane);
        write(lane, count, n, pixel);
        lane += count;
    }
}
