// The inside of a communicator: matches messages to exchanges, and turns what goes wrong into errors.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"

namespace thinwire::comm {

struct PeerProgress {
  bool sent = false;
  bool announced = false;
  bool received = false;
  bool complete() const { return sent && received; }
};

struct Work::State {
  Communicator::Core* core = nullptr;  // null once done, or once the communicator is gone
  ExchangeRequest request;
  std::vector<PeerProgress> peers;
  std::vector<Buffer> incoming;
  int num_unsent = 0;
  Clock::time_point start;
  Clock::time_point deadline;
  bool done = false;
};

// One thread, that of the communicator.
class Communicator::Core {
 public:
  Core(std::unique_ptr<Transport> transport, double timeout_s);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  Transport& transport() { return *transport_; }
  const ByteCounters& counters() const { return counters_; }
  std::uint64_t moved() const { return moved_; }
  std::size_t sending() const { return sending_; }
  void wrap(const std::function<std::unique_ptr<Transport>(std::unique_ptr<Transport>)>& layer);

  std::shared_ptr<Work::State> begin(ExchangeRequest request);
  // Polls for everybody; throws if this state, or anything before it, has failed.
  void advance(Work::State& state);
  bool is_called(std::uint64_t sequence);
  // The state's owner is gone before the exchange was done.
  void abandon(Work::State& state);
  // Every later call throws `error`.
  void break_with(const CommError& error);

 private:
  struct Announcement {
    std::size_t num_bytes = 0;
    Traffic traffic = Traffic::kWire;
    Clock::time_point due;
  };

  void check_request(const ExchangeRequest& request) const;
  void send_to(Work::State& state, int peer);
  void poll();
  void handle(TransportEvent& event);
  void handle_announced(const TransportEvent& event);
  void accept(Work::State& state, int peer, const Announcement& message);
  void check_announced(const Work::State& state, int peer, const Announcement& message);
  void note_sent(Work::State& state, int peer);
  void progressed(Work::State& state, Clock::time_point when);
  void finish_if_complete(Work::State& state);
  void require_present(const Work::State& state, int peer);
  void check_deadline(const Work::State& state);
  std::string early_sequences(int peer) const;
  [[noreturn]] void fail(CommError::Kind kind, const Work::State& state, int peer, const std::string& found);
  [[noreturn]] void fail(const CommError& error);

  std::unique_ptr<Transport> transport_;
  const double timeout_s_;
  const Clock::duration timeout_;
  bool started_ = false;
  std::map<std::uint64_t, std::shared_ptr<Work::State>> active_;  // by sequence
  std::map<std::pair<int, std::uint64_t>, Announcement> early_;   // announced, but not yet asked for
  std::vector<std::optional<std::string>> lost_;                  // by rank: why it left
  std::optional<CommError> failure_;
  ByteCounters counters_;
  std::uint64_t moved_ = 0;
  std::size_t sending_ = 0;
  std::vector<TransportEvent> events_;
};

}  // namespace thinwire::comm
