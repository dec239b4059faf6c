// Built with -mavx2 -mfma; called only if the processor supports both.
#include "lanes_avx2.h"
#include "view_kernels_impl.h"

namespace gaussian::cpu {

const TileKernels<float>& avx2_kernels() { return TileKernelsOf<Avx2Lanes>::table; }
const ViewKernels<float>& avx2_view_kernels() { return ViewKernelsOf<Avx2Lanes>::table; }

}  // namespace gaussian::cpu
