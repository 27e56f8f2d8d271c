#include "comm/control.h"

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

#include "comm/backoff.h"

namespace thinwire::comm {

ExchangeRequest barrier_request(const Communicator& communicator, std::uint64_t sequence) {
  ExchangeRequest request{
      .sequence = sequence, .outgoing = {}, .traffic = Traffic::kControl, .what = "barrier"};
  request.outgoing.resize(communicator.size());
  return request;
}

ExchangeRequest gather_request(const Communicator& communicator, std::uint64_t sequence,
                               std::span<const std::byte> mine, std::size_t max_bytes,
                               const std::string& what) {
  ExchangeRequest request{.sequence = sequence,
                          .outgoing = {},
                          .max_bytes = max_bytes,
                          .traffic = Traffic::kControl,
                          .what = what};
  request.outgoing.assign(communicator.size(), mine);
  return request;
}

ExchangeRequest broadcast_request(const Communicator& communicator, std::uint64_t sequence, int root,
                                  std::span<const std::byte> bytes, std::size_t max_bytes) {
  if (root < 0 || root >= communicator.size()) {
    throw std::invalid_argument(
        fmt::format("[broadcast] root {} is no rank of a world of {}", root, communicator.size()));
  }
  ExchangeRequest request{.sequence = sequence,
                          .outgoing = {},
                          .max_bytes = max_bytes,
                          .traffic = Traffic::kControl,
                          .what = fmt::format("broadcast from rank {}", root)};
  request.outgoing.resize(communicator.size());
  if (communicator.rank() == root) std::fill(request.outgoing.begin(), request.outgoing.end(), bytes);
  return request;
}

Buffer broadcast_result(int rank, int root, std::vector<Buffer> received) {
  for (std::size_t r = 0; r < received.size(); ++r) {
    if (r == static_cast<std::size_t>(root) || received[r].empty()) continue;
    throw CommError(
        CommError::Kind::kBadMessage,
        fmt::format("[broadcast] rank {}: expected bytes from rank {} only, but rank {} sent {} bytes; the "
                    "ranks name different roots",
                    rank, root, r, received[r].size()));
  }
  return std::move(received[root]);
}

std::vector<Buffer> wait(const Communicator& communicator, Work& work) {
  Backoff backoff;
  std::uint64_t moved = communicator.moved();
  while (!work.test()) {
    if (communicator.moved() != moved) backoff.reset();
    moved = communicator.moved();
    backoff.pause(work.next_event());
  }
  return work.take();
}

bool ExchangeOperation::advance(Communicator& communicator, std::uint64_t id) {
  if (!work_) work_ = communicator.exchange(make_request_(communicator, exchange_sequence(id, 0)));
  if (!work_->test()) return false;
  received_ = work_->take();
  work_.reset();
  return true;
}

std::optional<Clock::time_point> ExchangeOperation::next_event() const {
  return work_ ? work_->next_event() : std::nullopt;
}

}  // namespace thinwire::comm
