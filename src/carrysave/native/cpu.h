#pragma once

#include <string>
#include <vector>

// Instruction sets that this processor has and this operating system saves on a context switch.
std::vector<std::string> cpu_features();
