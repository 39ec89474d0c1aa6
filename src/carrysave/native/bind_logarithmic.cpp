#include "bind.h"

void bind_logarithmic(nb::module_&) {}
