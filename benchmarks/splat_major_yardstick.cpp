// The yardstick of cpu_rasterizer.py: what a first CPU rasterizer looks like. One thread, no tiles, no vectors:
// Gaussians sorted by std::sort, and for each a loop over its 3-sigma box with libm's exp, image and transmittance in
// memory.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

extern "C" void splat_major(int64_t n, const float* means, const float* scales, const float* quats,
                            const float* opacities, const float* colors, float focal, int width, int height,
                            float* image) {
  struct Splat {
    float depth, x, y, qa, qb, qc;
    int radius;
    int64_t id;
  };
  std::vector<Splat> splats;
  for (int64_t i = 0; i < n; ++i) {
    const float *m = means + 3 * i, *s = scales + 3 * i, *q = quats + 4 * i;
    if (m[2] <= 0.2f) continue;
    const float limit_x = 1.3f * width / (2 * focal), limit_y = 1.3f * height / (2 * focal);
    const float tx = std::clamp(m[0] / m[2], -limit_x, limit_x), ty = std::clamp(m[1] / m[2], -limit_y, limit_y);
    const float norm = std::sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
    const float w = q[0] / norm, x = q[1] / norm, y = q[2] / norm, z = q[3] / norm;
    const float r[9] = {1 - 2 * (y * y + z * z), 2 * (x * y - w * z),     2 * (x * z + w * y),
                        2 * (x * y + w * z),     1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
                        2 * (x * z - w * y),     2 * (y * z + w * x),     1 - 2 * (x * x + y * y)};
    float a = 0.3f, b = 0, c = 0.3f;
    for (int k = 0; k < 3; ++k) {
      const float u = focal / m[2] * (r[k] - tx * r[6 + k]) * s[k],
                  v = focal / m[2] * (r[3 + k] - ty * r[6 + k]) * s[k];
      a += u * u, b += u * v, c += v * v;
    }
    const float det = a * c - b * b, middle = 0.5f * (a + c);
    const int radius = int(std::ceil(3 * std::sqrt(middle + std::sqrt(std::max(0.1f, middle * middle - det)))));
    splats.push_back({m[2], focal * m[0] / m[2] + width / 2.f, focal * m[1] / m[2] + height / 2.f, c / det, -b / det,
                      a / det, radius, i});
  }
  std::sort(splats.begin(), splats.end(), [](const Splat& p, const Splat& q) { return p.depth < q.depth; });
  std::vector<float> transmittance(size_t(width) * height, 1.f);
  std::fill_n(image, 3 * int64_t(width) * height, 0.f);
  for (const Splat& s : splats) {
    const int left = std::max(0, int(s.x) - s.radius), right = std::min(width - 1, int(s.x) + s.radius);
    const int top = std::max(0, int(s.y) - s.radius), bottom = std::min(height - 1, int(s.y) + s.radius);
    for (int y = top; y <= bottom; ++y)
      for (int x = left; x <= right; ++x) {
        float& t = transmittance[int64_t(y) * width + x];
        if (t < 1e-4f) continue;  // the pixel is done
        const float dx = x + 0.5f - s.x, dy = y + 0.5f - s.y;
        const float alpha =
            std::min(0.99f, opacities[s.id] * std::exp(-0.5f * (s.qa * dx * dx + s.qc * dy * dy) - s.qb * dx * dy));
        if (alpha < 1.f / 255) continue;
        if (t * (1 - alpha) < 1e-4f) {
          t = 0;
          continue;
        }
        for (int k = 0; k < 3; ++k) image[(int64_t(k) * height + y) * width + x] += alpha * t * colors[3 * s.id + k];
        t *= 1 - alpha;
      }
  }
}
