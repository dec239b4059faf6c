// 16 lanes as two vectors of 8: interleaving the exponentials of two visits hides latency.
#pragma once

namespace gaussian::cpu {

template <class L>
struct TwoVectors {
  using T = typename L::Real;
  struct Mask {
    typename L::Mask low, high;
  };
  L first, second;

  static TwoVectors load(const T* p) { return {L::load(p), L::load(p + 8)}; }
  static TwoVectors broadcast(T f) { return {L::broadcast(f), L::broadcast(f)}; }
  // Broadcasts `low` to the low 8 lanes and `high` to the high 8.
  static TwoVectors both(T low, T high) { return {L::broadcast(low), L::broadcast(high)}; }
  static TwoVectors twice(L a) { return {a, a}; }
  L low() const { return first; }
  L high() const { return second; }
  void store(T* p) const { first.store(p), second.store(p + 8); }
  friend TwoVectors operator+(TwoVectors a, TwoVectors b) { return {a.first + b.first, a.second + b.second}; }
  friend TwoVectors operator*(TwoVectors a, TwoVectors b) { return {a.first * b.first, a.second * b.second}; }
  friend Mask operator>=(TwoVectors a, TwoVectors b) { return {a.first >= b.first, a.second >= b.second}; }
  static TwoVectors fma(TwoVectors a, TwoVectors b, TwoVectors c) {
    return {L::fma(a.first, b.first, c.first), L::fma(a.second, b.second, c.second)};
  }
  static TwoVectors fnma(TwoVectors a, TwoVectors b, TwoVectors c) {
    return {L::fnma(a.first, b.first, c.first), L::fnma(a.second, b.second, c.second)};
  }
  friend TwoVectors smaller(TwoVectors a, TwoVectors b) {
    return {smaller(a.first, b.first), smaller(a.second, b.second)};
  }
  static TwoVectors where(Mask m, TwoVectors a) { return {L::where(m.low, a.first), L::where(m.high, a.second)}; }
  friend TwoVectors exp2(TwoVectors x) {
    const L in[2] = {x.first, x.second};
    L out[2];
    L::exp2(in, out);
    return {out[0], out[1]};
  }
};

}  // namespace gaussian::cpu
