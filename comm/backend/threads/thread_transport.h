// The `threads` backend: workers of one process, joined by mailboxes. A message is copied once, by its
// sender.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "comm/transport.h"

namespace thinwire::comm {

// The mailboxes of one world. Shared by its transports: the last one to go frees it.
// Thread safety: all members, from any thread.
class ThreadWorld {
 public:
  explicit ThreadWorld(int size) : boxes_(size) {}

  struct Letter {
    int from = 0;
    std::uint64_t sequence = 0;
    Traffic traffic = Traffic::kWire;
    Buffer data{};
    bool last = false;  // the sender left; data is empty
    std::string reason{};
  };

  int size() const { return static_cast<int>(boxes_.size()); }
  void put(int to, Letter letter);
  // Appends what has come for `rank`.
  void collect(int rank, std::vector<Letter>& letters);

 private:
  struct Box {
    std::mutex mutex;
    std::vector<Letter> letters;  // guarded by mutex
  };
  std::vector<Box> boxes_;
};

std::unique_ptr<Transport> make_thread_transport(std::shared_ptr<ThreadWorld> world, int rank);

}  // namespace thinwire::comm
