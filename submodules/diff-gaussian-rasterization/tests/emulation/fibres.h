// Runs the threads of one CUDA block on the host: each is a fibre, switched at barriers and warp collectives.
// Stricter than a GPU where that finds mistakes: a barrier that some thread of the block or lane of the warp does not
// reach, or reaches at another source line, ends the program with a message, and the order of threads between barriers
// can be reversed or shuffled, which exposes a missing one.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

enum Order { kForward, kReverse, kShuffled };
inline int thread_order = kForward;
inline int compute_capability = 9;  // major; kernels are compiled without tensor cores whatever it says

[[noreturn]] inline void fail(const char* what, int line, int other_line) {
  std::fprintf(stderr, "CUDA emulation: %s, line %d, other line %d (block %u,%u thread %u,%u)\n", what, line,
               other_line, blockIdx.x, blockIdx.y, threadIdx.x, threadIdx.y);
  std::abort();
}

// Threads that all have to arrive before any of them goes on: a block or a warp. Values are exchanged on the way.
struct Meeting {
  unsigned members = 0, arrived = 0, generation = 0;
  int line = 0;
  // Double-buffered: a thread is at most one meeting ahead of the slowest reader.
  alignas(16) unsigned char offered[2][32][16];
  int votes[2] = {0, 0};
};

struct Fibre {
  ucontext_t context;
  jmp_buf place;
  bool started = false;
  std::unique_ptr<char[]> stack;
  dim3 index;
  Meeting* waits_at = nullptr;
  unsigned waits_in = 0;
  bool finished = false;
};

class Block {
 public:
  static constexpr size_t kStack = 96 * 1024;

  Block(dim3 size, size_t shared_bytes) : shared_(shared_bytes, 0xff), fibres_(size.x * size.y * size.z) {
    if (fibres_.size() % 32) fail("a block is no whole number of warps", 0, 0);
    warps_.resize(fibres_.size() / 32);
    for (Meeting& warp : warps_) warp.members = 32;
    everyone_.members = fibres_.size();
    for (size_t i = 0; i < fibres_.size(); ++i) {
      fibres_[i].stack.reset(new char[kStack]);
      fibres_[i].index = dim3(i % size.x, i / size.x % size.y, i / (size.x * size.y));
    }
  }

  void run(const std::function<void()>& body) {
    body_ = &body;
    active = this;
    for (Fibre& fibre : fibres_) {
      getcontext(&fibre.context);
      fibre.context.uc_stack.ss_sp = fibre.stack.get();
      fibre.context.uc_stack.ss_size = kStack;
      fibre.context.uc_link = nullptr;
      fibre.started = fibre.finished = false;
      makecontext(&fibre.context, &Block::enter, 0);
    }
    std::fill(shared_.begin(), shared_.end(), 0xff);  // what was not written reads as NaN
    size_t left = fibres_.size();
    while (left > 0) {
      bool progress = false;
      for (size_t i : order()) {
        Fibre& fibre = fibres_[i];
        if (fibre.finished || (fibre.waits_at && fibre.waits_at->generation == fibre.waits_in)) continue;
        fibre.waits_at = nullptr;
        current_ = &fibre;
        threadIdx = fibre.index;
        resume(fibre);
        progress = true;
        left -= fibre.finished;
      }
      if (!progress) stuck();
    }
  }

  // Returns the parity of the meeting, under which its offered values are read.
  unsigned meet(Meeting& meeting, int line) {
    if (meeting.arrived == 0) meeting.line = line;
    if (meeting.line != line) fail("threads meet at different barriers", line, meeting.line);
    const unsigned generation = meeting.generation;
    if (++meeting.arrived == meeting.members) {
      meeting.arrived = 0;
      ++meeting.generation;
      meeting.votes[meeting.generation & 1] = 0;
    } else {
      current_->waits_at = &meeting;
      current_->waits_in = generation;
      suspend();
    }
    return generation & 1;
  }

  unsigned thread() const { return current_ - fibres_.data(); }
  unsigned lane() const { return thread() % 32; }
  Meeting& warp() { return warps_[thread() / 32]; }
  Meeting& everyone() { return everyone_; }
  void* shared() { return shared_.data(); }

  static inline Block* active = nullptr;

 private:
  static void enter() {
    Block* block = active;
    (*block->body_)();
    block->current_->finished = true;
    block->leave();
  }

#ifdef __SANITIZE_ADDRESS__  // follows swapcontext, but not jumps between stacks
  void resume(Fibre& fibre) { swapcontext(&scheduler_context_, &fibre.context); }
  void suspend() { swapcontext(&current_->context, &scheduler_context_); }
  void leave() { setcontext(&scheduler_context_); }
#else  // swapcontext enters the kernel twice per call
  void resume(Fibre& fibre) {
    if (_setjmp(scheduler_)) return;
    if (fibre.started) _longjmp(fibre.place, 1);
    fibre.started = true;
    setcontext(&fibre.context);
  }
  void suspend() {
    if (_setjmp(current_->place) == 0) leave();
  }
  void leave() { _longjmp(scheduler_, 1); }
#endif

  std::vector<size_t> order() const {
    std::vector<size_t> order(fibres_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    static std::mt19937 generator(0);
    if (thread_order == kReverse) std::reverse(order.begin(), order.end());
    if (thread_order == kShuffled) std::shuffle(order.begin(), order.end(), generator);
    return order;
  }

  [[noreturn]] void stuck() const {
    for (const Fibre& fibre : fibres_) {
      if (fibre.finished) continue;
      threadIdx = fibre.index;
      fail("threads wait for others that returned or wait elsewhere", fibre.waits_at->line, 0);
    }
    std::abort();
  }

  std::vector<unsigned char> shared_;
  std::vector<Fibre> fibres_;
  std::vector<Meeting> warps_;
  Meeting everyone_;
  Fibre* current_ = nullptr;
  jmp_buf scheduler_;
  ucontext_t scheduler_context_;
  const std::function<void()>* body_ = nullptr;
};

template <class T>
T exchange(T value, unsigned mask, unsigned source, int line) {
  static_assert(sizeof(T) <= 16);
  if (mask != 0xffffffffu) fail("a warp collective names only some lanes", line, 0);
  Block& block = *Block::active;
  Meeting& warp = block.warp();
  std::memcpy(warp.offered[warp.generation & 1][block.lane()], &value, sizeof(T));
  const unsigned parity = block.meet(warp, line);
  std::memcpy(&value, warp.offered[parity][source % 32], sizeof(T));
  return value;
}

}  // namespace emulation
