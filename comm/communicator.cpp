#include "comm/communicator.h"

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

#include "comm/communicator_core.h"
#include "comm/control.h"

namespace thinwire::comm {

Work::Work(std::shared_ptr<State> state) : state_(std::move(state)) {}

Work::~Work() {
  if (state_ && !state_->done && state_->core != nullptr) state_->core->abandon(*state_);
}

bool Work::test() {
  if (state_->done) return true;
  if (state_->core == nullptr) {
    throw CommError(CommError::Kind::kClosed,
                    fmt::format("[{}] seq {}: the communicator was closed before this was done",
                                state_->request.what, state_->request.sequence));
  }
  state_->core->advance(*state_);
  return state_->done;
}

bool Work::sent() const {
  return state_->num_unsent == 0;
}

std::vector<Buffer> Work::take() {
  if (!state_->done) throw std::logic_error("take() before test() returned true");
  return std::move(state_->incoming);
}

std::optional<Clock::time_point> Work::next_event() const {
  return state_->core == nullptr ? std::nullopt : state_->core->transport().next_event();
}

Communicator::Communicator(std::unique_ptr<Transport> transport, double timeout_s)
    : core_(std::make_unique<Core>(std::move(transport), timeout_s)) {}

Communicator::~Communicator() = default;

int Communicator::rank() const {
  return core_->transport().rank();
}
int Communicator::size() const {
  return core_->transport().size();
}
std::string_view Communicator::backend() const {
  return core_->transport().name();
}
ByteCounters Communicator::sent() const {
  return core_->counters();
}
bool Communicator::is_called(std::uint64_t sequence) {
  return core_->is_called(sequence);
}
void Communicator::fail(const CommError& error) {
  core_->break_with(error);
}
std::uint64_t Communicator::moved() const {
  return core_->moved();
}

std::size_t Communicator::sending() const {
  return core_->sending();
}
void Communicator::reuse(Buffer storage) {
  core_->transport().reuse(std::move(storage));
}

void Communicator::keep(std::shared_ptr<const void> owner) {
  core_->transport().keep(std::move(owner));
}

std::unique_ptr<Work> Communicator::exchange(ExchangeRequest request) {
  return std::make_unique<Work>(core_->begin(std::move(request)));
}

void Communicator::wrap(const std::function<std::unique_ptr<Transport>(std::unique_ptr<Transport>)>& layer) {
  core_->wrap(layer);
}

void barrier(Communicator& communicator, std::uint64_t sequence) {
  const auto work = communicator.exchange(barrier_request(communicator, sequence));
  wait(communicator, *work);
}

Buffer broadcast(Communicator& communicator, std::uint64_t sequence, int root,
                 std::span<const std::byte> bytes, std::size_t max_bytes) {
  const auto work = communicator.exchange(broadcast_request(communicator, sequence, root, bytes, max_bytes));
  return broadcast_result(communicator.rank(), root, wait(communicator, *work));
}

}  // namespace thinwire::comm
