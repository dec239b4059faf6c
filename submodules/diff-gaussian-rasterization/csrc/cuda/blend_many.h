// Blending of many channels, for GPUs with tensor cores that take float32 operands.
#pragma once

#include "state.h"

namespace gaussian::cuda {

void blend_many(const Camera<float>& camera, const State& state, const Features<float>& features,
                const Images<float>& images, cudaStream_t stream);

}  // namespace gaussian::cuda
