#include "comm/backend/nccl/nccl_lane.h"

#include <algorithm>
#include <utility>

namespace thinwire::comm {

void NcclLane::send(std::uint64_t sequence, std::span<const std::byte> outgoing) {
  messages_.push_back({.sequence = sequence, .outgoing = outgoing, .num_bytes = outgoing.size()});
}

void NcclLane::receive(std::uint64_t sequence, std::size_t num_bytes) {
  messages_.push_back({.sequence = sequence, .incoming = Buffer(num_bytes), .num_bytes = num_bytes});
}

void NcclLane::pump(std::vector<Progress>& progress) {
  if (messages_.empty()) return;
  pair_->is_ready();  // throws if what is under way has failed
  while (mark_part() || finish_part(progress) || start_part()) {
  }
}

// The first message with parts left to post gets one.
bool NcclLane::start_part() {
  if (parts_.size() == kSlots || (!parts_.empty() && !parts_.back().marked)) return false;
  const auto message = std::find_if(messages_.begin(), messages_.end(),
                                    [](const Message& m) { return m.posted < m.num_bytes; });
  if (message == messages_.end() || !pair_->is_ready()) return false;
  while (slots_.size() < kSlots) slots_.push_back(api_.make_slot(kPartBytes));

  const Part part{.slot = next_slot_,
                  .num_bytes = std::min(kPartBytes, message->num_bytes - message->posted)};
  NcclSlot& slot = *slots_[part.slot];
  if (direction_ == Direction::kReceive) {
    pair_->receive(slot, part.num_bytes);
  } else {
    const auto bytes = message->outgoing.subspan(message->posted, part.num_bytes);
    std::copy(bytes.begin(), bytes.end(), slot.host().begin());
    pair_->copy_to_device(slot, part.num_bytes);
    pair_->send(slot, part.num_bytes);
  }
  message->posted += part.num_bytes;
  parts_.push_back(part);
  next_slot_ = (next_slot_ + 1) % kSlots;
  return true;
}

// NCCL may take its time to put a send or receive into the stream; what follows it there has to wait.
bool NcclLane::mark_part() {
  if (parts_.empty() || parts_.back().marked || !pair_->is_ready()) return false;
  Part& part = parts_.back();
  NcclSlot& slot = *slots_[part.slot];
  if (direction_ == Direction::kReceive) pair_->copy_to_host(slot, part.num_bytes);
  pair_->mark(slot);
  part.marked = true;
  return true;
}

bool NcclLane::finish_part(std::vector<Progress>& progress) {
  if (parts_.empty() || !parts_.front().marked || !slots_[parts_.front().slot]->is_done()) return false;
  const Part part = parts_.front();
  parts_.pop_front();
  Message& message = messages_.front();
  if (direction_ == Direction::kReceive) {
    const auto bytes = slots_[part.slot]->host().first(part.num_bytes);
    std::copy(bytes.begin(), bytes.end(),
              message.incoming.begin() + static_cast<std::ptrdiff_t>(message.done));
  }
  message.done += part.num_bytes;
  progress.push_back({.sequence = message.sequence});
  if (message.done < message.num_bytes) return true;
  progress.back().finished = true;
  progress.back().data = std::move(message.incoming);
  messages_.pop_front();
  return true;
}

}  // namespace thinwire::comm
