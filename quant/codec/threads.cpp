#include "quant/codec/threads.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace thinwire::quant {

Threads::Threads(int count) {
  if (count < 1) {
    throw std::invalid_argument("threads: expected a count of at least 1, got " + std::to_string(count));
  }
  for (std::size_t part = 1; part < static_cast<std::size_t>(count); ++part) {
    workers_.emplace_back([this, part] { serve(part); });
  }
}

Threads::~Threads() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Threads::share(const Work& work) {
  {
    const std::lock_guard lock(mutex_);
    work_ = work;
    num_busy_ = workers_.size();
    failure_ = nullptr;
    ++round_;
  }
  changed_.notify_all();
  do_part(work, 0);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return num_busy_ == 0; });
  if (failure_) std::rethrow_exception(failure_);
}

void Threads::do_part(const Work& work, std::size_t part) {
  const std::size_t parts = workers_.size() + 1;
  const std::size_t units = (work.n + work.unit - 1) / work.unit;
  const std::size_t first = std::min(units * part / parts * work.unit, work.n);
  const std::size_t end = std::min(units * (part + 1) / parts * work.unit, work.n);
  if (first == end) return;
  try {
    work.call(work.context, first, end - first);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

void Threads::serve(std::size_t part) {
  std::uint64_t served = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return ends_ || round_ != served; });
    if (ends_) return;
    served = round_;
    const Work work = work_;
    lock.unlock();
    do_part(work, part);
    lock.lock();
    if (--num_busy_ == 0) changed_.notify_all();
  }
}

}  // namespace thinwire::quant
