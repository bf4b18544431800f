// The products of int8, compiled once for each instruction set; KERNELS is the name of the table of them.
#include "cpu.h"
#include "dispatch.h"
#include "tiles.h"

extern const Int8Kernels KERNELS;

constexpr Int8Kernels KERNELS = {used_features(), &tile_products};
