#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "isa.h"
#include "parallel.h"
#include "scratch.h"

// What the direct convolutions share. The work is cut into parts whose padded input stays in a core's caches, and a part
// into tiles of neighbouring outputs, the lanes of vectors. The batch's im2col matrix never exists.

struct ConvShape {
    int64_t n, c, h, w, groups, kh, kw, sy, sx, dy, dx, top, left, out_height, out_width;

    int64_t depth() const { return c / groups; }
    int64_t taps() const { return depth() * kh * kw; }
    int64_t pixels() const { return out_height * out_width; }
};

// Outputs of one group that are computed together: of some whole images, of some rows of one, or of some columns of a row.
struct Part {
    ConvShape shape;          // n, out_height and out_width are the part's; top and left count from its first output
    int64_t group, image;     // image: the first
    int64_t pixel;            // the first, within the image
};

class Parts {
  public:
    // element: bytes of one padded operand. Throws nothing.
    Parts(const ConvShape& shape, int64_t element, int threads);
    int64_t count() const { return p.groups * blocks(p.n, images) * blocks(p.out_height, rows) * blocks(p.out_width, columns); }
    Part operator[](int64_t i) const;

  private:
    ConvShape p;
    int64_t images, rows, columns;   // of a part, at most

    static int64_t blocks(int64_t whole, int64_t part) { return (whole + part - 1) / part; }
};

// A part's input with its halo, rows and columns split by phase: row y and column x of the padded image are at
// [y % sy][x % sx][y / sy][x / sx]. So the operands that a tap has for neighbouring outputs are neighbours, and the
// distance between two taps' operands is the same for all outputs, whatever the stride.
template <class T>
class Padded {
  public:
    static constexpr int64_t kSlack = 256;   // operands that may be read, for lanes that nobody wants, past the end

    std::vector<int64_t> shifts;             // [taps]: from the first tap's operand to this one's
    int64_t pitch;                           // between rows of neighbouring outputs

    // read(image, channel, y, x, count, to): T's for columns x.. of a row of the input; channel counts within the group.
    // `depth` of these channels: the group's, or fewer if a T holds more than one.
    template <class Read>
    Padded(const Part& part, int64_t depth, const Read& read, T pad)
        : p(part.shape), height((p.out_height - 1) * p.sy + (p.kh - 1) * p.dy + 1),
          width((p.out_width - 1) * p.sx + (p.kw - 1) * p.dx + 1), rows((height + p.sy - 1) / p.sy), image(0),
          memory((p.n * depth * p.sy * p.sx * rows * ((width + p.sx - 1) / p.sx) + kSlack) * static_cast<int64_t>(sizeof(T))),
          line(p.sx > 1 ? width * static_cast<int64_t>(sizeof(T)) : 0) {
        pitch = (width + p.sx - 1) / p.sx;
        const int64_t plane = p.sy * p.sx * rows * pitch;
        image = depth * plane;
        for (int64_t c = 0; c < depth; ++c)
            for (int64_t ky = 0; ky < p.kh; ++ky)
                for (int64_t kx = 0; kx < p.kw; ++kx) {
                    const int64_t y = ky * p.dy, x = kx * p.dx;
                    shifts.push_back(c * plane + ((y % p.sy * p.sx + x % p.sx) * rows + y / p.sy) * pitch + x / p.sx);
                }
        T* to = memory.at<T>(0);
        for (int64_t n = 0; n < p.n; ++n)
            for (int64_t c = 0; c < depth; ++c, to += plane)
                for (int64_t y = 0; y < rows * p.sy; ++y) fill_row(read, pad, n, c, y, to);
        std::fill_n(to, kSlack, pad);
    }

    const T* at(int64_t n, int64_t y, int64_t x) const { return memory.at<T>(0) + n * image + y * pitch + x; }

  private:
    ConvShape p;
    int64_t height, width, rows, image;
    Scratch memory, line;

    template <class Read>
    void fill_row(const Read& read, T pad, int64_t n, int64_t c, int64_t y, T* plane) const {
        const int64_t phase = rows * pitch, from = y - p.top;
        T* row = plane + y % p.sy * p.sx * phase + y / p.sy * pitch;
        if (y >= height || from < 0 || from >= p.h) {
            for (int64_t i = 0; i < p.sx; ++i) std::fill_n(row + i * phase, pitch, pad);
            return;
        }
        T* to = p.sx > 1 ? line.at<T>(0) : row;
        const int64_t first = std::clamp<int64_t>(p.left, 0, width), last = std::clamp<int64_t>(p.left + p.w, first, width);
        std::fill_n(to, first, pad);
        if (last > first) read(n, c, from, first - p.left, last - first, to + first);
        std::fill(to + last, to + width, pad);
        if (p.sx == 1) return;
        for (int64_t i = 0; i < p.sx; ++i)
            for (int64_t x = 0; x < pitch; ++x) row[i * phase + x] = x * p.sx + i < width ? to[x * p.sx + i] : pad;
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

// Where the lanes of a tile find tap i's operands: lane l at from[l / kQuarter][offsets[i] + l % kQuarter].
template <class T>
struct Operands {
    const T* from[4];
    const int64_t* offsets;
};

// How a part's outputs become lanes.
enum class Lanes {
    gathered,    // one after the other; operands are copied to a tile of their own
    aligned,     // the same, and each quarter of a tile lies in one row: operands are read where they are
    padded,      // the padded image's columns, with those between the rows, in each image: likewise
};

// quarter: of a tile; step: lanes that are computed in any case; gather_cost: of copying a tap's operands, in units of
// using them for one of the `group_channels` that do.
Lanes lanes_of(const ConvShape& shape, int64_t pitch, int64_t quarter, int64_t step, double gather_cost, int64_t group_channels);

template <class T, int kLanes>
class Tiles {
  public:
    static constexpr int kQuarter = kLanes / 4;

    // Gathers at most `most_taps` at a time.
    Tiles(const Part& part_, const Padded<T>& padded_, Isa isa_, Lanes lanes_, int64_t most_taps)
        : part(part_), p(part.shape), padded(padded_), isa(isa_), lanes(lanes_),
          span(lanes == Lanes::padded ? (p.out_height - 1) * padded.pitch + p.out_width : p.n * p.pixels()),
          tile(lanes == Lanes::gathered ? (most_taps * kLanes + 64) * static_cast<int64_t>(sizeof(T)) : 0) {
        if (lanes == Lanes::gathered)
            for (int64_t i = 0; i < most_taps; ++i) rows.push_back(i * kLanes);
    }

    bool gathered() const { return lanes == Lanes::gathered; }
    int64_t count() const { return (lanes == Lanes::padded ? p.n : 1) * per_span(); }

    // Makes tile i the current one; returns how many lanes it has.
    int select(int64_t i) {
        image = i / per_span(), first = i % per_span() * kLanes;
        const int wanted = static_cast<int>(std::min<int64_t>(kLanes, span - first));
        if (lanes == Lanes::padded) {
            for (int q = 0; q < 4; ++q) from[q] = padded.at(image, 0, 0) + first + q * kQuarter;
        } else if (lanes == Lanes::aligned) {
            for (int q = 0; q < 4; ++q) from[q] = source(std::min(first + q * kQuarter, span - 1));
        } else {
            for (int q = 0; q < 4; ++q) from[q] = tile.at<T>(0) + q * kQuarter;
            find_runs(wanted);
        }
        return wanted;
    }

    Operands<T> operands(int64_t tap, int64_t taps) const {
        if (lanes != Lanes::gathered) return {{from[0], from[1], from[2], from[3]}, padded.shifts.data() + tap};
        constexpr int64_t kSize = sizeof(T);
        gather(isa, {runs, longest, reinterpret_cast<const uint8_t*>(padded.at(0, 0, 0)), padded.shifts.data() + tap, kSize, taps,
                     kLanes * kSize, tile.at<uint8_t>(0)});
        return {{from[0], from[1], from[2], from[3]}, rows.data()};
    }

    // Calls write(lane, count, image, pixel), both of the whole convolution, for the tile's lanes that are outputs.
    template <class Write>
    void for_each_run(const Write& write) const {
        const int64_t end = std::min(first + kLanes, span);
        for (int64_t at = first; at < end;) {
            const bool with_gaps = lanes == Lanes::padded;
            const int64_t row = with_gaps ? padded.pitch : p.pixels(), x = at % row, wanted = with_gaps ? p.out_width : row;
            const int64_t n = with_gaps ? image : at / row, pixel = with_gaps ? at / row * p.out_width + x : x;
            const int64_t count = std::min(wanted - x, end - at);
            if (count > 0) write(at - first, count, part.image + n, part.pixel + pixel);
            at += std::min(row - x, end - at);
        }
    }

  private:
    const Part& part;
    const ConvShape& p;
    const Padded<T>& padded;
    Isa isa;
    Lanes lanes;
    int64_t span, image = 0, first = 0, longest = 0;
    const T* from[4] = {};
    Scratch tile;                    // [taps][kLanes]
    std::vector<int64_t> rows;
    std::vector<Run> runs;

    int64_t per_span() const { return (span + kLanes - 1) / kLanes; }
    const T* source(int64_t at) const {
        return padded.at(at / p.pixels(), at % p.pixels() / p.out_width, at % p.out_width);
    }

    void find_runs(int64_t wanted) {
        constexpr int64_t kSize = sizeof(T);
        runs.clear(), longest = 0;
        for (int64_t lane = 0; lane < wanted;) {
            const int64_t length = std::min(p.out_width - (first + lane) % p.out_width, wanted - lane);
            runs.push_back({lane * kSize, length * kSize, (source(first + lane) - padded.at(0, 0, 0)) * kSize});
            longest = std::max(longest, length * kSize);
            lane += length;
        }
    }
};
