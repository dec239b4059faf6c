// Built on arm64 only, where every processor has NEON.
#include "lanes_neon.h"
#include "view_kernels_impl.h"

namespace gaussian::cpu {

const TileKernels<float>& neon_kernels() { return TileKernelsOf<NeonLanes>::table; }
const ViewKernels<float>& neon_view_kernels() { return ViewKernelsOf<NeonLanes>::table; }

}  // namespace gaussian::cpu
