#include "lanes_scalar.h"
#include "view_kernels_impl.h"

namespace gaussian::cpu {

template <class T>
const TileKernels<T>& scalar_kernels() {
  return TileKernelsOf<ScalarLanes<T>>::table;
}
template const TileKernels<float>& scalar_kernels<float>();
template const TileKernels<double>& scalar_kernels<double>();

template <class T>
const ViewKernels<T>& scalar_view_kernels() {
  return ViewKernelsOf<ScalarLanes<T>>::table;
}
template const ViewKernels<float>& scalar_view_kernels<float>();
template const ViewKernels<double>& scalar_view_kernels<double>();

}  // namespace gaussian::cpu
