// Ends with 3 where CARRYSAVE_ISA names a set that is not here, after the error that says so.
#include <cstdio>
#include <stdexcept>

#include "isa.h"

int main() {
    try {
        chosen_isa();
        return 0;
    } catch (const std::invalid_argument& error) {
        std::puts(error.what());
        return 3;
    }
}
