// Built for AVX-512 (F, VL, DQ, BW); called only if the processor supports all four. The AVX2 kernels, with 32
// registers and two visits per register.
#include "lanes_avx2.h"
#include "view_kernels_impl.h"

namespace gaussian::cpu {

const TileKernels<float>& avx512_kernels() { return TileKernelsOf<Avx2Lanes>::table; }
const ViewKernels<float>& avx512_view_kernels() { return ViewKernelsOf<Avx2Lanes>::table; }

}  // namespace gaussian::cpu
