// Built for AVX-512 (F, VL, DQ, BW) and called only where the processor has all of them: the kernels of AVX2, with 32
// registers and pairs of visits in one.
#include "lanes_avx2.h"
#include "view_kernels_impl.h"

namespace gaussian::cpu {

const TileKernels<float>& avx512_kernels() { return TileKernelsOf<Avx2Lanes>::table; }
const ViewKernels<float>& avx512_view_kernels() { return ViewKernelsOf<Avx2Lanes>::table; }

}  // namespace gaussian::cpu
