// Ranges of values to threads: for coding and the fused outer passes, whose results do not depend on who does
// which range.
//
//   Threads two(2);                                   // starts one thread; its owner is the second
//   two.for_ranges(n, codec.block(), [&](std::size_t first, std::size_t count) { ... });
//
// Starts count - 1 threads, which wait between calls and end with the object. for_ranges allocates nothing.
// Thread safety: one caller at a time.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace thinwire::quant {

class Threads {
 public:
  // count: at least 1, the caller included; std::invalid_argument otherwise.
  explicit Threads(int count);
  ~Threads();
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  int count() const { return static_cast<int>(workers_.size()) + 1; }

  // call(first, count) for ranges that make up [0, n), whose borders are multiples of unit or n. Below 1 Mi
  // values (4 MiB of float32) the caller does all at once: waking a thread would cost more. Rethrows the
  // first exception of a call, after all have ended.
  template <class Call>
  void for_ranges(std::size_t n, std::size_t unit, Call&& call) {
    if (count() == 1 || n < kLeastShared) {
      if (n > 0) call(std::size_t{0}, n);
      return;
    }
    using Plain = std::remove_reference_t<Call>;
    share({.n = n,
           .unit = unit,
           .context = const_cast<void*>(static_cast<const void*>(&call)),
           .call = [](void* context, std::size_t first, std::size_t size) {
             (*static_cast<Plain*>(context))(first, size);
           }});
  }

  static constexpr std::size_t kLeastShared = std::size_t{1} << 20;

 private:
  struct Work {
    std::size_t n = 0;
    std::size_t unit = 1;
    void* context = nullptr;
    void (*call)(void* context, std::size_t first, std::size_t count) = nullptr;
  };

  void share(const Work& work);
  void do_part(const Work& work, std::size_t part);
  void serve(std::size_t part);

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  Work work_;
  std::uint64_t round_ = 0;  // of work_
  std::size_t num_busy_ = 0;
  bool ends_ = false;
  std::exception_ptr failure_;

  std::vector<std::thread> workers_;  // constant after construction
};

}  // namespace thinwire::quant
