#include "lanes_scalar.h"
#include "tile_kernels_impl.h"

namespace gaussian::cpu {

template <class T>
const TileKernels<T>& scalar_kernels() {
  return TileKernelsOf<ScalarLanes<T>>::table;
}
template const TileKernels<float>& scalar_kernels<float>();
template const TileKernels<double>& scalar_kernels<double>();

}  // namespace gaussian::cpu
