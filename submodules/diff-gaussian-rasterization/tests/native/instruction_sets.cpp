// Compares every instruction set with the scalar code, without Python: for processors that are only emulated here
// (test_arm64.py). Prints one line per set and quantity: the norm of its error relative to that of the scalar result.
// Fails above 2e-5 (5e-5 for quantities named after 16 bits), and where results depend on the number of threads or on
// kept weights.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "backend.h"
#include "cpu/parallel.h"

using namespace gaussian;

namespace {

using Values = std::vector<float>;

// Keeps every allocation until the end of a call.
struct Memory {
  std::vector<cpu::Buffer<char>> blocks;
  Allocator allocator() {
    return {this, [](void* context, size_t bytes) -> void* {
              auto& blocks = static_cast<Memory*>(context)->blocks;
              blocks.emplace_back(bytes + 64);
              return blocks.back().get();
            }};
  }
};

constexpr int kCount = 1500, kWidth = 90, kHeight = 61, kChannels = 19;

struct Scene {
  Values means, scales, rotations, opacities, features, image_gradient;
  std::vector<int32_t> labels;
  Camera<float> camera{};

  Scene() : labels(kWidth * kHeight) {
    std::mt19937 generator(3);
    const auto uniform = [&](float low, float high) {
      return low + (high - low) * float(generator() >> 8) / 16777216.f;
    };
    for (int i = 0; i < kCount; ++i) {
      const float z = uniform(0.1f, 6);  // some in front of the near plane
      for (float x : {uniform(-0.8f, 0.8f) * z, uniform(-0.6f, 0.6f) * z, z}) means.push_back(x);
      for (int k = 0; k < 3; ++k) scales.push_back(0.05f * std::exp(uniform(-2, 1.5f)));
      for (int k = 0; k < 4; ++k) rotations.push_back(uniform(-1, 1));
      opacities.push_back(uniform(0.01f, 1));
      for (int c = 0; c < kChannels; ++c) features.push_back(uniform(-1, 1));
    }
    for (int i = 0; i < kChannels * kWidth * kHeight; ++i) image_gradient.push_back(uniform(-1, 1));
    for (int i = 0; i < kWidth * kHeight; ++i) labels[i] = i % kWidth / 13 - 1;
    const float turn = 0.1f;
    const float rotation[9] = {std::cos(turn), 0, std::sin(turn), 0, 1, 0, -std::sin(turn), 0, std::cos(turn)};
    std::memcpy(camera.rotation, rotation, sizeof(rotation));
    camera.fx = 80, camera.fy = 82, camera.cx = 44, camera.cy = 31;
    camera.width = kWidth, camera.height = kHeight, camera.rigid = true;
    camera.tan_x = kWidth / (2 * camera.fx), camera.tan_y = kHeight / (2 * camera.fy);
  }
};

// Everything that one instruction set computes, by name.
struct Result {
  const char* name;
  Values values;
};

std::vector<Result> run(const Scene& scene, int threads) {
  const Execution execution{threads, 0, nullptr};
  const Gaussians<float> gaussians{
      kCount, scene.means.data(), scene.scales.data(), scene.rotations.data(), nullptr, scene.opacities.data(), 1,
      false};
  const Features<float> features{kChannels, scene.features.data(), nullptr};
  const ImageGradients<float> above{scene.image_gradient.data(), nullptr, nullptr};
  const size_t pixels = kWidth * kHeight;
  Memory memory;
  std::vector<int32_t> radii(kCount);
  Prepared prepared =
      cpu::prepare(scene.camera, gaussians, radii.data(), memory.allocator(), memory.allocator(), execution);

  std::vector<Result> results;
  const auto output = [&](const char* name, size_t size) {
    results.push_back({name, Values(size)});
    return results.back().values.data();
  };
  results.reserve(32);
  output("radii", 0);
  results.back().values.assign(radii.begin(), radii.end());

  float* image = output("image", kChannels * pixels);
  float* alpha = output("alpha", pixels);
  cpu::blend(scene.camera, prepared, features, Images<float>{image, alpha, output("depth", pixels)}, memory.allocator(),
             execution);
  Gradients<float> gradients{};
  gradients.features = output("feature gradient", kCount * kChannels);
  gradients.means = output("gradient of means", 3 * kCount);
  gradients.scales = output("gradient of scales", 3 * kCount);
  gradients.rotations = output("gradient of rotations", 4 * kCount);
  gradients.opacities = output("gradient of opacities", kCount);
  cpu::blend_backward(scene.camera, gaussians, prepared, features, above, gradients, memory.allocator(), execution);

  float* labelled = output("labelled", kCount);
  cpu::lift(prepared, LabelMaps{1, scene.labels.data(), false},
            LabelTotals<float>{labelled, output("unlabelled", kCount)}, memory.allocator(), memory.allocator(),
            execution);

  for (bool half : {false, true}) {  // training: evaluated weights, then kept ones
    prepared.half_weights = half;
    const auto pass = [&](const char* image_name, const char* gradient_name) {
      cpu::blend(scene.camera, prepared, features,
                 Images<float>{output(image_name, kChannels * pixels), nullptr, nullptr}, memory.allocator(),
                 execution);
      Gradients<float> of_features{};
      of_features.features = output(gradient_name, kCount * kChannels);
      cpu::blend_backward(scene.camera, gaussians, prepared, features, above, of_features, memory.allocator(),
                          execution);
      return &results[results.size() - 2];
    };
    prepared.weights = nullptr;
    const Result* evaluated = pass(half ? "training image, 16 bits" : "training image",
                                   half ? "training gradient, 16 bits" : "training gradient");
    const std::vector<int64_t> places = cpu::weight_places(prepared, execution);
    void* kept = memory.allocator().allocate(&memory, size_t(places.back()));
    cpu::keep_weights(prepared, places, kept, execution);
    prepared.weights = kept;
    const Result* restored = pass("image from kept weights", "gradient from kept weights");
    for (int i = 0; i < 2; ++i)
      if (evaluated[i].values != restored[i].values) throw std::runtime_error("kept weights change a result");
  }
  return results;
}

double error(const Values& a, const Values& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i)
    difference += std::pow(double(a[i]) - b[i], 2), norm += std::pow(double(b[i]), 2);
  return std::sqrt(difference / norm);
}

}  // namespace

int main() try {
  const Scene scene;
  cpu::use_instruction_set("scalar");
  const std::vector<Result> expected = run(scene, 1);
  bool good = true;
  for (const std::string& name : cpu::instruction_sets()) {
    cpu::use_instruction_set(name);
    const std::vector<Result> found = run(scene, 1), parallel = run(scene, 3);
    for (size_t i = 0; i < found.size(); ++i) {
      const double wrong = error(found[i].values, expected[i].values);
      const bool same = found[i].values == parallel[i].values;
      good = good && wrong <= (std::strstr(found[i].name, "16") ? 5e-5 : 2e-5) && same;
      std::printf("%s: %s: %.1e%s\n", name.c_str(), found[i].name, wrong, same ? "" : ", differs with 3 threads");
    }
  }
  return good ? 0 : 1;
} catch (const std::exception& error) {
  std::printf("%s\n", error.what());
  return 1;
}
