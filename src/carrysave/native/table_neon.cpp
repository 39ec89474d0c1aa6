// AArch64 only: the file is empty elsewhere.
#if defined(__aarch64__) || defined(_M_ARM64)

#include <arm_neon.h>

#include "table_kernels.h"

namespace {

// One instruction looks up 64 bytes and leaves a lane alone whose index is past them, so a row of 256 takes four.
template <int kQuarters>
inline uint8x16_t look_up(const uint8_t* row, uint8x16_t code) {
    uint8x16_t found = vqtbl4q_u8(vld1q_u8_x4(row), code);
    for (int q = 1; q < kQuarters; ++q) {
        code = vsubq_u8(code, vdupq_n_u8(64));
        found = vqtbx4q_u8(found, vld1q_u8_x4(row + 64 * q), code);
    }
    return found;
}

inline void add_to(uint32_t* sums, uint16x8_t value, int shift) {
    const int32x4_t by = vdupq_n_s32(shift);
    vst1q_u32(sums, vaddq_u32(vld1q_u32(sums), vshlq_u32(vmovl_u16(vget_low_u16(value)), by)));
    vst1q_u32(sums + 4, vaddq_u32(vld1q_u32(sums + 4), vshlq_u32(vmovl_high_u16(value), by)));
}
inline void add_to(uint64_t* sums, uint16x8_t value, int shift) {
    const int64x2_t by = vdupq_n_s64(shift);
    const uint32x4_t parts[2] = {vmovl_u16(vget_low_u16(value)), vmovl_high_u16(value)};
    for (int i = 0; i < 2; ++i) {
        uint64_t* at = sums + 4 * i;
        vst1q_u64(at, vaddq_u64(vld1q_u64(at), vshlq_u64(vmovl_u32(vget_low_u32(parts[i])), by)));
        vst1q_u64(at + 2, vaddq_u64(vld1q_u64(at + 2), vshlq_u64(vmovl_high_u32(parts[i]), by)));
    }
}

// Up to kStepsPerFlush steps, one plane, 64 lanes; the 16-bit sums are widened by the additions themselves.
template <int kQuarters, class T>
void run(const TileTask& task, const Step* steps, int count, int plane, const uint8_t* codes, T* out) {
    constexpr int kVectors = 4;
    uint16x8_t low[kVectors], high[kVectors];
    for (int v = 0; v < kVectors; ++v) low[v] = high[v] = vdupq_n_u16(0);
    const uint8_t* rows = task.rows + plane * 64 * kQuarters;
    for (int i = 0; i < count; ++i)
        for (int v = 0; v < kVectors; ++v) {
            const uint8x16_t found = look_up<kQuarters>(rows + steps[i].row, vld1q_u8(codes + task.codes.offsets[steps[i].tap] + 16 * v));
            low[v] = vaddw_u8(low[v], vget_low_u8(found));
            high[v] = vaddw_high_u8(high[v], found);
        }
    for (int v = 0; v < kVectors; ++v) {
        add_to(out + 16 * v, low[v], 8 * plane);
        add_to(out + 16 * v + 8, high[v], 8 * plane);
    }
}

template <int kQuarters, class T>
void run_tile(const TileTask& task, T* sums) {
    for (int64_t i = 0; i < task.taps; i += kStepsPerFlush) {
        const int count = static_cast<int>(task.taps - i < kStepsPerFlush ? task.taps - i : kStepsPerFlush);
        for (int lane = 0; lane < task.lanes; lane += 64)
            for (int plane = 0; plane < task.planes; ++plane)
                run<kQuarters>(task, task.steps + i, count, plane, task.codes.from[lane / 64], sums + lane);
    }
}

template <class T>
void run_entries(const TileTask& task, T* sums) {
    switch (task.entries) {
        case 16:
        case 64: return run_tile<1>(task, sums);
        case 128: return run_tile<2>(task, sums);
        default: return run_tile<4>(task, sums);
    }
}

}  // namespace

void tile_neon(const TileTask& task, uint32_t* sums) { run_entries(task, sums); }
void tile_neon(const TileTask& task, uint64_t* sums) { run_entries(task, sums); }

#endif
