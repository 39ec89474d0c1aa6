#pragma once

// Which kernels run: the best instruction set that this processor and this build have, or the one that the environment
// variable CARRYSAVE_ISA names (for tests).
enum class Isa { portable, avx2, avx512, neon };   // avx512: F, BW, DQ, VL, VBMI and VNNI

Isa best_isa();
Isa chosen_isa();             // reads CARRYSAVE_ISA at every call; throws std::invalid_argument if it is unknown or absent
bool isa_present(Isa isa);    // in the processor and in this build
const char* isa_name(Isa isa);
