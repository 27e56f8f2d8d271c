// What gRPC's threads have for the transport's thread. Shared by the transport and its calls; the last frees
// it. Thread safety: all members, from any thread.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "comm/backend/grpc/limits.h"
#include "comm/transport.h"

namespace thinwire::comm {

class Inbox {
 public:
  struct Entry {
    TransportEvent event;
    // A broken connection: its cause may still come by another one (a goodbye, the coordinator's word).
    bool suspected = false;
  };

  void push(TransportEvent event) { put({std::move(event), false}); }
  void suspect(int peer, const std::string& reason) {
    put({{.kind = TransportEvent::Kind::kLost, .peer = peer, .reason = reason}, true});
  }

  // True if there is room for more. Otherwise `resume` is called once there is, on the transport's thread.
  [[nodiscard]] bool has_room(std::function<void()> resume) {
    const std::scoped_lock lock(mutex_);
    if (entries_.size() < kMaxWaitingEvents) return true;
    resumes_.push_back(std::move(resume));
    return false;
  }

  std::vector<Entry> take() {
    std::vector<Entry> entries;
    std::vector<std::function<void()>> resumes;
    {
      const std::scoped_lock lock(mutex_);
      entries.swap(entries_);
      resumes.swap(resumes_);
    }
    for (const auto& resume : resumes) resume();
    return entries;
  }

 private:
  void put(Entry entry) {
    const std::scoped_lock lock(mutex_);
    entries_.push_back(std::move(entry));
  }

  std::mutex mutex_;
  std::vector<Entry> entries_;                  // guarded by mutex_
  std::vector<std::function<void()>> resumes_;  // guarded by mutex_
};

}  // namespace thinwire::comm
