#include "digits.h"

#include <algorithm>
#include <cstring>

#include "digits_kernels.h"
#include "isa.h"
#include "parallel.h"
#include "scratch.h"

namespace {

constexpr int64_t kBandBytes = 1 << 20;      // of digits: they are read again and again while they are in the second cache
constexpr int64_t kChunkBytes = 1 << 19;
constexpr int64_t kFewLanes = 4 * kTileLanes;  // below this many outputs weights are read too often
constexpr int64_t kGatheredTaps = 128;       // 32 KiB, a first cache

uint8_t code_of(const DigitConv& conv, int64_t i) {
    return conv.values ? static_cast<uint8_t>(conv.quantization.index(conv.values[i])) : conv.codes[i];
}

}  // namespace

void digit_conv_reference(const DigitWeights& weights, const DigitConv& conv) {
    const ConvShape& p = conv.shape;
    for (int64_t at = 0; at < p.n * weights.outputs * p.pixels(); ++at) {
        const int64_t n = at / (weights.outputs * p.pixels()), o = at / p.pixels() % weights.outputs;
        const int64_t oy = at % p.pixels() / p.out_width, ox = at % p.out_width, group = o / weights.per_group;
        int64_t sum = conv.constant[o];
        for (int64_t c = 0; c < weights.depth; ++c)
            for (int64_t ky = 0; ky < p.kh; ++ky)
                for (int64_t kx = 0; kx < p.kw; ++kx) {
                    const int64_t y = oy * p.sy + ky * p.dy - p.top, x = ox * p.sx + kx * p.dx - p.left;
                    const bool inside = 0 <= y && y < p.h && 0 <= x && x < p.w;
                    const uint8_t code =
                        inside ? code_of(conv, ((n * p.c + group * weights.depth + c) * p.h + y) * p.w + x) : conv.halo_code;
                    if (conv.addend) sum += conv.addend[code];
                    for (size_t i = 0; i < weights.passes.size(); ++i)
                        sum += (int64_t{weights.at(i, o, c, ky, kx)} * conv.tables[weights.passes[i].plane * 256 + code])
                               * (int64_t{1} << weights.passes[i].shift);
                }
        if (conv.integers)
            conv.integers[at] = sum;
        else
            conv.out[at] = static_cast<float>(sum) * (conv.scale ? conv.scale[o] : 1.0f);
    }
}

namespace {

std::vector<int64_t> slots_of(int64_t kernel, int64_t stride, int64_t dilation, int64_t* count) {
    std::vector<int64_t> slots(stride, -1);
    *count = 0;
    for (int64_t k = 0; k < kernel; ++k) slots[k * dilation % stride] = 0;
    for (auto& slot : slots)
        if (slot == 0) slot = (*count)++;
    return slots;
}

// Where the padded image's row or column `at` lies among those of the same remainder, or -1 if no tap needs it.
class Places {
  public:
    int64_t count = 0;
    Places(int64_t kernel, int64_t stride_, int64_t dilation_)
        : stride(stride_), dilation(dilation_), slots(slots_of(kernel, stride_, dilation_, &count)) {}

    int64_t slot(int64_t at) const { return slots[at % stride]; }
    int64_t tap_slot(int64_t k) const { return slots[k * dilation % stride]; }
    int64_t tap_step(int64_t k) const { return k * dilation / stride; }

  private:
    int64_t stride, dilation;
    std::vector<int64_t> slots;
};

class BandBuilder {
  public:
    BandBuilder(const ConvShape& shape, int64_t first_row, int64_t count)
        : p(shape), rows(p.kh, p.sy, p.dy), columns(p.kw, p.sx, p.dx), band{} {
        band.first_row = first_row, band.rows = count;
        band.row_slots = rows.count, band.column_slots = columns.count;
        band.width = p.out_width + columns.tap_step(p.kw - 1);
        band.pitch = band.width * columns.count * rows.count;
        height = count + rows.tap_step(p.kh - 1);
        band.size = band.pitch * height;
        for (int64_t ky = 0; ky < p.kh; ++ky)
            for (int64_t kx = 0; kx < p.kw; ++kx)
                band.window.push_back(rows.tap_step(ky) * band.pitch + (rows.tap_slot(ky) * columns.count + columns.tap_slot(kx)) * band.width +
                                      columns.tap_step(kx));
    }

    Band built() {
        std::vector<bool> inside(band.size, false);
        const int64_t start = band.first_row * p.sy - p.top;         // of the input, first row of the band
        const int64_t first = std::clamp<int64_t>(start, 0, p.h), last = std::clamp(start + height * p.sy, first, p.h);
        for (int64_t pixel = first * p.w; pixel < last * p.w; pixel += kLanes)
            add_segment(pixel, static_cast<int>(std::min<int64_t>(kLanes, last * p.w - pixel)), start, inside);
        for (int64_t i = 0; i < band.size;) {
            int64_t end = i;
            while (end < band.size && !inside[end]) ++end;
            if (end > i) band.halo.emplace_back(i, end - i);
            i = std::max(end, i + 1);
        }
        return std::move(band);
    }

  private:
    const ConvShape& p;
    Places rows, columns;
    Band band;
    int64_t height;

    int64_t place(int64_t y, int64_t x) const {
        if (rows.slot(y) < 0 || columns.slot(x) < 0 || y / p.sy >= height || x / p.sx >= band.width) return -1;
        return y / p.sy * band.pitch + (rows.slot(y) * columns.count + columns.slot(x)) * band.width + x / p.sx;
    }

    void add_segment(int64_t pixel, int count, int64_t start, std::vector<bool>& inside) {
        Segment segment{pixel, count, true, {}, static_cast<int>(band.runs.size()), 0};
        std::vector<std::pair<int64_t, int>> lanes;
        for (int i = 0; i < count; ++i) {
            const int64_t at = place((pixel + i) / p.w - start, (pixel + i) % p.w + p.left);
            if (at < 0) continue;
            lanes.emplace_back(at, i);
            inside[at] = true;
        }
        std::sort(lanes.begin(), lanes.end());
        const int used = static_cast<int>(lanes.size());
        for (int i = 0; i < used; ++i) segment.sorted = segment.sorted && lanes[i].second == i;
        for (int i = 0; i < kLanes; ++i) segment.order[i] = i < used ? lanes[i].second : 0;
        for (int i = 0, end = 0; i < used; i = end) {
            while (end < used && lanes[end].first - lanes[i].first == end - i) ++end;
            band.runs.push_back({((1u << end) - 1) & ~((1u << i) - 1), lanes[i].first - i});
        }
        segment.last_run = static_cast<int>(band.runs.size());
        band.segments.push_back(segment);
    }
};

// One call, and what every chunk of it needs.
class Call {
  public:
    Call(const DigitWeights& weights, const DigitConv& task)
        : w(weights), conv(task), p(task.shape), addend(task.addend), kernels(chosen()), isa(chosen_isa()) {
        narrow = conv.out && conv.bound < int64_t{1} << 31;
        for (const DigitPass& pass : w.passes) narrow = narrow && pass.shift == 0;
        constants.resize(w.outputs), scales.assign(w.outputs, 1.0f);
        for (int64_t o = 0; o < w.outputs; ++o) constants[o] = static_cast<int32_t>(conv.constant[o]);
        if (conv.scale) std::copy_n(conv.scale, w.outputs, scales.begin());
    }

    void operator()() {
#ifdef CARRYSAVE_AVX512
        if (isa == Isa::avx512 && depthwise_serves_avx512(w, p)) return depthwise_avx512(w, conv, addend, narrow);
        if (isa == Isa::avx512 && rows_serve_avx512(w, p)) return rows_avx512(w, conv, addend, narrow);
#endif
        w.pack_tiles();
        plan_bands();
        const int64_t count = static_cast<int64_t>(bands.size()) * chunks;
        const int outer = count >= conv.threads ? conv.threads : 1, inner = outer > 1 ? 1 : conv.threads;
        parallel_for(count, 1, outer, [&](int64_t begin, int64_t end) {
            Chunk chunk(*this, inner);
            for (int64_t i = begin; i < end; ++i) {
                const int64_t first = i % chunks * images;
                chunk.run(bands[i / chunks], first, std::min(images, p.n - first));
            }
        });
    }

  private:
    const DigitWeights& w;
    const DigitConv& conv;
    const ConvShape& p;
    const Addend addend;
    const DigitKernels kernels;
    const Isa isa;
    bool narrow;
    std::vector<int32_t> constants;
    std::vector<float> scales;
    std::vector<Band> bands;
    int64_t images, chunks;                     // of a chunk; of the batch

    static DigitKernels chosen() {
#ifdef CARRYSAVE_AVX512
        if (chosen_isa() == Isa::avx512) return {expand_avx512, tile_avx512};
#endif
#ifdef CARRYSAVE_AVX2
        if (chosen_isa() == Isa::avx2) return {expand_portable, tile_avx2};
#endif
        return {expand_portable, tile_portable};
    }

    int64_t bytes_of(int64_t elements) const { return w.groups * (w.quads * w.planes + (conv.addend ? 1 : 0)) * elements * 4; }

    void plan_bands() {
        const Band whole = BandBuilder(p, 0, p.out_height).built();
        const int64_t bytes = std::max<int64_t>(1, bytes_of(whole.size));
        const int64_t parts = std::min(p.out_height, (bytes + kBandBytes - 1) / kBandBytes);
        images = 1;
        if (parts == 1) {
            bands.push_back(whole);
            images = std::max(kChunkBytes / bytes, (kFewLanes + p.pixels() - 1) / p.pixels());
            images = std::clamp<int64_t>(images, 1, std::max<int64_t>(1, (p.n + conv.threads - 1) / conv.threads));
        } else {
            for (int64_t i = 0; i < parts; ++i) {
                const int64_t first = p.out_height * i / parts;
                bands.push_back(BandBuilder(p, first, p.out_height * (i + 1) / parts - first).built());
            }
        }
        chunks = (p.n + images - 1) / images;
    }

    // Some images' outputs of one band, from digits in memory of its own.
    class Chunk {
      public:
        Chunk(const Call& run, int threads_) : r(run), threads(threads_), memory(run.space()) {}

        void run(const Band& band_, int64_t first_image, int64_t count) {
            if (band != &band_ || count > filled) {
                band = &band_, filled = count;
                layout = r.layout_of(band_, count);
                offsets = r.offsets_of(band_, layout);
                fill_halo();
            }
            expand(first_image, count);
            tiles(first_image, count);
        }

      private:
        const Call& r;
        const int threads;
        Scratch memory;
        const Band* band = nullptr;
        int64_t filled = 0;
        DigitLayout layout{};
        std::vector<int64_t> offsets;

        void fill_halo() const {
            uint32_t* digits = memory.at<uint32_t>(0);
            const auto fill = [&](int64_t place, uint32_t value) {
                for (int64_t i = 0; i < filled; ++i)
                    for (const auto& [first, length] : band->halo)
                        std::fill_n(digits + place + i * band->size + first, length, value);
            };
            for (int64_t group = 0; group < layout.groups; ++group) {
                for (int64_t quad = 0; quad < layout.quads; ++quad)
                    for (int64_t k = 0; k < layout.planes; ++k)
                        fill(layout.place(group, quad, k), r.conv.tables[256 * k + r.conv.halo_code] * 0x01010101u);
                if (r.conv.addend)
                    fill(layout.sums(group), static_cast<uint32_t>(r.w.depth) * static_cast<uint32_t>(r.conv.addend[r.conv.halo_code]));
            }
        }

        void expand(int64_t first_image, int64_t count) const {
            const int64_t segments = static_cast<int64_t>(band->segments.size()), items = count * layout.groups;
            // A quad of segments is read at once; parts of an image only where there are too few of them.
            const int64_t parts = items >= threads ? 1 : std::max<int64_t>(1, std::min<int64_t>(threads, segments / 4));
            const int64_t step = (segments + 4 * parts - 1) / (4 * parts) * 4;
            parallel_for(items * parts, 1, threads, [&](int64_t begin, int64_t end) {
                const Scratch sums(r.conv.addend ? step * kLanes * 4 : 64);
                for (int64_t i = begin; i < end; ++i) {
                    const int64_t slot = i / parts / layout.groups, from = std::min(segments, i % parts * step);
                    r.kernels.expand({r.conv, *band, layout, r.conv.addend ? &r.addend : nullptr, first_image + slot, slot,
                                      i / parts % layout.groups, from, std::min(segments, from + step), memory.at<uint32_t>(0), sums.at<int32_t>(0)});
                }
            });
        }

        void tiles(int64_t first_image, int64_t count) const;
    };
    class TileRun;

    int64_t stride_of(const Band& band, int64_t count) const {
        // an odd number of cache lines: planes a power of two apart would all want the same places of a cache
        return (band.size * count + kLanes) / kLanes / 2 * 2 * kLanes + kLanes;
    }
    DigitLayout layout_of(const Band& band, int64_t count) const { return {w.groups, w.quads, w.planes, stride_of(band, count)}; }

    int64_t space() const {
        int64_t most = 0;
        for (const Band& band : bands) most = std::max(most, layout_of(band, std::min(images, p.n)).elements(conv.addend));
        return most * 4;
    }

    std::vector<int64_t> offsets_of(const Band& band, const DigitLayout& layout) const {
        std::vector<int64_t> offsets;
        offsets.reserve(w.taps.size());
        for (const auto& tap : w.taps) offsets.push_back(layout.place(0, tap.quad, tap.plane) + band.window[tap.ky * w.kw + tap.kx]);
        return offsets;
    }
};

// Tiles of outputs: where their operands lie, and where the results go.
class Call::TileRun {
  public:
    TileRun(const Call& run, const Band& band_, const DigitLayout& layout_, const std::vector<int64_t>& offsets_, const uint32_t* digits_,
            int64_t first_image_)
        : r(run), band(band_), layout(layout_), offsets(offsets_), digits(digits_), first_image(first_image_), memory(space()) {
        for (int64_t i = 0; i < kGatheredTaps; ++i) gathered[i] = i * kTileLanes;
    }

    void run(int64_t first, int64_t lanes, int64_t begin, int64_t end) {
        vectors = static_cast<int>((lanes + kLanes - 1) / kLanes);
        place(first, lanes);
        for (int64_t i = begin; i < end;) {
            const int64_t of_group = i % r.w.tiles, until = std::min(r.w.tiles, of_group + end - i);
            group(i / r.w.tiles, of_group, until);
            i += until - of_group;
        }
    }

  private:
    const Call& r;
    const Band& band;
    const DigitLayout& layout;
    const std::vector<int64_t>& offsets;
    const uint32_t* digits;
    const int64_t first_image;
    Scratch memory;                             // gathered digits, then sums
    int64_t gathered[kGatheredTaps];
    int vectors = 0;
    bool direct = true;
    int64_t sources[kTileVectors];
    std::vector<Run> pieces;                  // of the lanes, each from neighbours; in bytes
    int64_t longest = 0;
    std::vector<OutputRun> outputs[kTileVectors];
    int32_t box[kTileLanes];

    int64_t space() const { return kGatheredTaps * kTileLanes * 4 + 64 + (r.w.per_group + kTileOutputs) * kTileLanes * 12; }

    void place(int64_t first, int64_t lanes) {
        const int64_t width = r.p.out_width, pixels = band.rows * width;
        pieces.clear(), longest = 0, direct = true;
        for (auto& runs : outputs) runs.clear();
        for (int64_t lane = 0; lane < lanes;) {
            const int64_t image = (first + lane) / pixels, pixel = (first + lane) % pixels, x = pixel % width;
            const bool flat = band.pitch == width;       // its rows lie one behind the other
            const int64_t length = std::min({flat ? pixels - pixel : width - x, lanes - lane});
            const int64_t source = image * band.size + pixel / width * band.pitch + x;
            if (!pieces.empty() && pieces.back().from + pieces.back().length == source * 4)
                pieces.back().length += length * 4;
            else
                pieces.push_back({lane * 4, length * 4, source * 4});
            longest = std::max(longest, pieces.back().length);
            add_outputs(lane, length, ((first_image + image) * r.w.outputs) * r.p.pixels() + band.first_row * width + pixel);
            lane += length;
        }
        for (const auto& piece : pieces) {
            direct = direct && piece.to % (kLanes * 4) == 0;
            for (int64_t lane = piece.to / 4; lane < (piece.to + piece.length) / 4; lane += kLanes)
                sources[lane / kLanes] = piece.from / 4 + lane - piece.to / 4;
        }
    }

    void add_outputs(int64_t lane, int64_t length, int64_t to) {
        while (length > 0) {
            const int64_t inside = lane % kLanes, count = std::min(length, kLanes - inside);
            auto& runs = outputs[lane / kLanes];
            const uint32_t mask = ((1u << count) - 1) << inside;
            if (!runs.empty() && runs.back().to + inside == to)
                runs.back().mask |= mask;
            else
                runs.push_back({mask, to - inside});
            lane += count, length -= count, to += count;
        }
    }

    void sum_box(int64_t g) {
        const auto* sums = reinterpret_cast<const int32_t*>(digits + layout.sums(g));
        std::fill_n(box, kTileLanes, 0);
        for (int64_t shift : band.window)
            for (const auto& piece : pieces)
                for (int64_t i = 0; i < piece.length / 4; ++i) box[piece.to / 4 + i] += sums[piece.from / 4 + shift + i];
    }

    // Tiles of outputs [begin, end) of a group.
    void group(int64_t g, int64_t begin, int64_t end) {
        if (r.conv.addend) sum_box(g);
        const uint32_t* base = digits + layout.place(g, 0, 0);
        if (r.w.blocks.empty()) return step(g, begin, end, base, {0, 0, 0}, true, true);
        const int64_t most = direct ? static_cast<int64_t>(r.w.taps.size()) : kGatheredTaps;
        for (const TapBlock& block : r.w.blocks)
            for (int64_t i = 0; i < block.count; i += most) {
                const TapBlock part{block.first + i, std::min(most, block.count - i), block.shift};
                const bool last = part.first + part.count == static_cast<int64_t>(r.w.taps.size());
                step(g, begin, end, base, part, part.first == 0, last);
            }
    }

    void step(int64_t g, int64_t begin, int64_t end, const uint32_t* base, const TapBlock& part, bool first, bool last) {
        DigitTile tile{};
        uint32_t* panel = memory.at<uint32_t>(0);
        if (direct) {
            for (int i = 0; i < vectors; ++i) tile.from[i] = base + sources[i];
            tile.offsets = offsets.data() + part.first;
        } else {
            gather(r.isa, {pieces, longest, reinterpret_cast<const uint8_t*>(base), offsets.data() + part.first, 4, part.count,
                           kTileLanes * 4, reinterpret_cast<uint8_t*>(panel)});
            for (int i = 0; i < vectors; ++i) tile.from[i] = panel + kLanes * i;
            tile.offsets = gathered;
        }
        tile.taps = part.count, tile.vectors = vectors;
        auto* sums = reinterpret_cast<int32_t*>(panel + kGatheredTaps * kTileLanes + kLanes);
        auto* wide = reinterpret_cast<int64_t*>(sums + (r.w.per_group + kTileOutputs) * kTileLanes);
        for (int64_t i = begin; i < end; ++i) {
            const int64_t o = r.w.first_output(i);
            tile.outputs = static_cast<int>(r.w.first_output(i + 1) - o);
            tile.weights = r.w.of_tile(g, i) + part.first * 4 * tile.outputs;
            tile.sums = sums + (r.narrow ? o * kTileLanes : 0), tile.starts = first || !r.narrow;
            if (r.narrow) {
                const TileEnd finish = end_of(g * r.w.per_group + o);
                tile.end = last ? &finish : nullptr;
                r.kernels.tile(tile);
            } else {
                r.kernels.tile(tile);
                widen(tile, wide + o * kTileLanes, part.shift, first);
                if (last) store_wide(wide + o * kTileLanes, g * r.w.per_group + o, tile.outputs);
            }
        }
    }

    TileEnd end_of(int64_t o) const {
        TileEnd end{r.conv.addend ? box : nullptr, r.constants.data() + o, r.scales.data() + o, {}, {}, r.p.pixels(), r.conv.out + o * r.p.pixels()};
        for (int i = 0; i < vectors; ++i) end.runs[i] = outputs[i].data(), end.count[i] = static_cast<int>(outputs[i].size());
        return end;
    }

    void widen(const DigitTile& tile, int64_t* wide, int shift, bool first) const {
        for (int64_t i = 0; i < tile.outputs * kTileLanes; ++i)
            wide[i] = (first ? 0 : wide[i]) + tile.sums[i] * (int64_t{1} << shift);
    }

    void store_wide(const int64_t* wide, int64_t o, int count) const {
        for (int i = 0; i < count; ++i, ++o, wide += kTileLanes)
            for (int vector = 0; vector < vectors; ++vector)
                for (const auto& run : outputs[vector])
                    for (int lane = 0; lane < kLanes; ++lane) {
                        if (!(run.mask >> lane & 1)) continue;
                        const int at = vector * kLanes + lane;
                        const int64_t sum = wide[at] + r.conv.constant[o] + (r.conv.addend ? box[at] : 0);
                        const int64_t to = run.to + lane + o * r.p.pixels();
                        if (r.conv.integers)
                            r.conv.integers[to] = sum;
                        else
                            r.conv.out[to] = static_cast<float>(sum) * r.scales[o];
                    }
    }
};

void Call::Chunk::tiles(int64_t first_image, int64_t count) const {
    const int64_t total = count * band->rows * r.p.out_width, all = (total + kLanes - 1) / kLanes;
    const int64_t tiles = (all + kTileVectors - 1) / kTileVectors;
    const int64_t work = r.w.groups * r.w.tiles;
    const int64_t parts = tiles >= 2 * threads ? 1 : std::min<int64_t>(threads, work);
    parallel_for(tiles * parts, 1, threads, [&](int64_t begin, int64_t end) {
        TileRun tile(r, *band, layout, offsets, memory.at<uint32_t>(0), first_image);
        for (int64_t i = begin; i < end; ++i) {
            const int64_t first = all * (i / parts) / tiles * kLanes, last = std::min(total, all * (i / parts + 1) / tiles * kLanes);
            tile.run(first, last - first, work * (i % parts) / parts, work * (i % parts + 1) / parts);
        }
    });
}

}  // namespace

void digit_conv(const DigitWeights& weights, const DigitConv& conv) {
    if (conv.shape.n && conv.shape.pixels() && weights.outputs) Call(weights, conv)();
}

void finish_tile(const DigitTile& tile, const TileEnd& end) {
    for (int o = 0; o < tile.outputs; ++o)
        for (int vector = 0; vector < tile.vectors; ++vector) {
            float values[kLanes];
            const int first = vector * kLanes;
            for (int i = 0; i < kLanes; ++i)
                values[i] = static_cast<float>(tile.sums[o * kTileLanes + first + i] + (end.box ? end.box[first + i] : 0) + end.constant[o]) *
                            end.scale[o];
            for (int i = 0; i < end.count[vector]; ++i)
                for (int lane = 0; lane < kLanes; ++lane)
                    if (end.runs[vector][i].mask >> lane & 1) end.out[o * end.channel + end.runs[vector][i].to + lane] = values[lane];
        }
}
