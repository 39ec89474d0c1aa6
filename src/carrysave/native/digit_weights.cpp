#include <algorithm>
#include <limits>

#include "digits.h"

DigitWeights::DigitWeights(const int8_t* v, std::vector<DigitPass> passes_, int64_t outputs_, int64_t groups_, int64_t depth_,
                           int64_t kh_, int64_t kw_, std::vector<uint8_t> largest)
    : outputs(outputs_),
      groups(groups_),
      depth(depth_),
      kh(kh_),
      kw(kw_),
      planes(static_cast<int64_t>(largest.size())),
      quads((depth_ + 3) / 4),
      per_group(outputs_ / groups_),
      tiles((per_group + kTileOutputs - 1) / kTileOutputs),
      passes(std::move(passes_)),
      plain(v, v + static_cast<int64_t>(passes.size()) * outputs_ * depth_ * kh_ * kw_) {
    std::vector<int> order(passes.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return passes[a].shift < passes[b].shift; });
    // Passes of one shift share their sums, so a quad's digits are used up while they are in the cache.
    for (size_t first = 0, last = 0; first < order.size(); first = last) {
        while (last < order.size() && passes[order[last]].shift == passes[order[first]].shift) ++last;
        for (int64_t quad = 0; quad < quads; ++quad)
            for (size_t i = first; i < last; ++i)
                for (int ky = 0; ky < kh; ++ky)
                    for (int kx = 0; kx < kw; ++kx) {
                        const Tap tap{quad, passes[order[i]].plane, order[i], ky, kx};
                        if (matters(tap)) taps.push_back(tap);
                    }
    }
    split(largest);
}

bool DigitWeights::matters(const Tap& tap) const {
    for (int64_t o = 0; o < outputs; ++o)
        for (int64_t c = tap.quad * 4; c < std::min(depth, tap.quad * 4 + 4); ++c)
            if (at(tap.pass, o, c, tap.ky, tap.kx)) return true;
    return false;
}

void DigitWeights::pack_tiles() const {
    std::call_once(tiled_once, [this] {
        tiled.resize(outputs * taps.size() * 4);
        int8_t* to = tiled.data();
        for (int64_t group = 0; group < groups; ++group)
            for (int64_t tile = 0; tile < tiles; ++tile)
                for (const Tap& tap : taps)
                    for (int64_t o = first_output(tile); o < first_output(tile + 1); ++o)
                        for (int64_t c = tap.quad * 4; c < tap.quad * 4 + 4; ++c)
                            *to++ = c < depth ? at(tap.pass, group * per_group + o, c, tap.ky, tap.kx) : int8_t{0};
    });
}

void DigitWeights::pack_panels() const {
    std::call_once(panels_once, [this] {
        panels.reserve((outputs + kLanes) * taps.size() * 4);
        for (int64_t panel = 0; panel < row_panels(); ++panel)
            for (const Tap& tap : taps)
                for (int64_t lane = 0; lane < panel_lanes(panel); ++lane)
                    for (int64_t c = tap.quad * 4; c < tap.quad * 4 + 4; ++c) {
                        const int64_t o = panel * kTileLanes + lane;
                        panels.push_back(o < outputs && c < depth ? at(tap.pass, o, c, 0, 0) : int8_t{0});
                    }
    });
}

// Digits of u are not negative, so a sum lies between that of the negative products and that of the positive ones.
void DigitWeights::split(const std::vector<uint8_t>& largest) {
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    std::vector<int64_t> above(outputs), below(outputs);
    for (int64_t i = 0; i < static_cast<int64_t>(taps.size()); ++i) {
        const Tap& tap = taps[i];
        const int shift = passes[tap.pass].shift;
        bool fits = !blocks.empty() && blocks.back().shift == shift;
        if (fits && (blocks.back().count + 1) * 4 * 255 * 128 <= kMost) {   // whatever the weights are
            ++blocks.back().count;
            continue;
        }
        const auto add = [&](int64_t at, bool fresh) {
            const Tap& added = taps[at];
            bool within = true;
            for (int64_t o = 0; o < outputs; ++o) {
                if (fresh) above[o] = below[o] = 0;
                for (int64_t c = added.quad * 4; c < std::min(depth, added.quad * 4 + 4); ++c) {
                    const int64_t product = int64_t{largest[added.plane]} * this->at(added.pass, o, c, added.ky, added.kx);
                    (product > 0 ? above : below)[o] += product > 0 ? product : -product;
                }
                within = within && above[o] <= kMost && below[o] <= kMost;
            }
            return within;
        };
        if (fits) {
            if (blocks.back().count * 4 * 255 * 128 + 4 * 255 * 128 > kMost && blocks.back().count == kMost / (4 * 255 * 128))
                for (int64_t j = blocks.back().first; j < i; ++j) add(j, j == blocks.back().first);   // the sums so far
            fits = add(i, false);
        }
        if (fits)
            ++blocks.back().count;
        else
            blocks.push_back({i, 1, shift});
    }
}
