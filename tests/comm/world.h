// Runs one body per rank, each on its own thread, and hands back what each threw.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "comm/backend/backend.h"
#include "comm/progress_engine.h"

namespace thinwire::comm {

inline Buffer bytes_of(const std::string& text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return Buffer(first, first + text.size());
}

inline std::string text_of(const Buffer& buffer) {
  return std::string(reinterpret_cast<const char*>(buffer.data()), buffer.size());
}

// `num_bytes` bytes that depend on who sends what to whom.
inline Buffer pattern(std::size_t num_bytes, int from, int to, std::uint64_t sequence) {
  Buffer buffer(num_bytes);
  for (std::size_t i = 0; i < num_bytes; ++i) {
    buffer[i] = static_cast<std::byte>(i * 7 + from * 31 + to * 101 + sequence * 13 + (i >> 8));
  }
  return buffer;
}

// Rethrows the first exception of a rank.
inline void run_ranks(int size, const std::function<void(int rank)>& body) {
  std::vector<std::exception_ptr> errors(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(rank);
      } catch (...) {
        errors[rank] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

// A `threads` world with one started engine per rank.
inline void run_engines(int size, const std::function<void(ProgressEngine& engine)>& body,
                        double timeout_s = 20) {
  const auto makers = make_thread_world(size, timeout_s);
  run_ranks(size, [&](int rank) {
    ProgressEngine engine(makers[rank]);
    engine.start();
    body(engine);
    engine.barrier();  // nobody leaves while another still needs it
    engine.stop();
  });
}

// The CommError that `body` throws; a test failure if it throws none.
inline CommError expect_comm_error(const std::function<void()>& body) {
  try {
    body();
  } catch (const CommError& error) {
    return error;
  }
  ADD_FAILURE() << "expected a CommError";
  return CommError(CommError::Kind::kClosed, "none was thrown");
}

}  // namespace thinwire::comm
