// The small collectives that carry control traffic: as requests of a communicator, and as one operation for
// the engine. Each is one exchange; M workers send M - 1 messages each.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/progress_engine.h"

namespace thinwire::comm {

// Everybody sends nothing to everybody: complete when all have entered.
ExchangeRequest barrier_request(const Communicator& communicator, std::uint64_t sequence);

// mine to everybody.
ExchangeRequest gather_request(const Communicator& communicator, std::uint64_t sequence,
                               std::span<const std::byte> mine, std::size_t max_bytes,
                               const std::string& what);

// bytes of root to everybody, nothing from the others. Throws std::invalid_argument if root is no rank.
ExchangeRequest broadcast_request(const Communicator& communicator, std::uint64_t sequence, int root,
                                  std::span<const std::byte> bytes, std::size_t max_bytes);
// root's message; kBadMessage if another rank sent something too: it believes in another root.
Buffer broadcast_result(int rank, int root, std::vector<Buffer> received);

// Polls until the work is done; bound by the communicator's deadline.
std::vector<Buffer> wait(const Communicator& communicator, Work& work);

// One exchange as an operation. make_request is called once, on the engine's thread.
class ExchangeOperation final : public Operation {
 public:
  using MakeRequest = std::function<ExchangeRequest(const Communicator&, std::uint64_t sequence)>;
  explicit ExchangeOperation(MakeRequest make_request) : make_request_(std::move(make_request)) {}

  bool advance(Communicator& communicator, std::uint64_t id) override;
  std::optional<Clock::time_point> next_event() const override;
  // After its ticket is done.
  std::vector<Buffer> take() { return std::move(received_); }

 private:
  const MakeRequest make_request_;
  std::unique_ptr<Work> work_;
  std::vector<Buffer> received_;
};

}  // namespace thinwire::comm
