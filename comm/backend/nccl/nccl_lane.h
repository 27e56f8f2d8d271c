// The messages that one rank sends another, one after the other, in parts: each part is copied to the device,
// sent, and copied back to the host on the other side. Both ranks push the same messages in the same order.
//
// Memory: kSlots parts on the host and on the device, made with the first message.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "comm/backend/nccl/nccl_api.h"
#include "comm/transport.h"

namespace thinwire::comm {

class NcclLane {
 public:
  static constexpr std::size_t kPartBytes = std::size_t{4} << 20;
  static constexpr std::size_t kSlots = 2;  // one part is copied while another is on the wire

  enum class Direction { kSend, kReceive };
  // api must outlive the lane.
  NcclLane(NcclApi& api, const NcclId& id, Direction direction)
      : api_(api), direction_(direction), pair_(api.join(id, direction == Direction::kSend)) {}

  // Whether both ranks have joined. Throws NcclError.
  bool is_joined() { return pair_->is_ready(); }

  // As the direction allows. Messages are not empty; outgoing must live until it is through.
  void send(std::uint64_t sequence, std::span<const std::byte> outgoing);
  void receive(std::uint64_t sequence, std::size_t num_bytes);

  // A part went through; the last one of a message hands out what was received.
  struct Progress {
    std::uint64_t sequence = 0;
    bool finished = false;
    Buffer data{};
  };
  // Ends what is under way; nothing but the destructor may follow. Freeing a slot waits for all work on the
  // device: a rank's lanes all end before the first of them is destroyed.
  void abort() { pair_.reset(); }
  // Moves what can be moved without blocking. Throws NcclError.
  void pump(std::vector<Progress>& progress);

 private:
  struct Message {
    std::uint64_t sequence = 0;
    std::span<const std::byte> outgoing{};
    Buffer incoming{};
    std::size_t num_bytes = 0;
    std::size_t posted = 0;
    std::size_t done = 0;
  };
  struct Part {
    std::size_t slot = 0;
    std::size_t num_bytes = 0;
    bool marked = false;
  };

  bool start_part();
  bool mark_part();
  bool finish_part(std::vector<Progress>& progress);

  NcclApi& api_;
  const Direction direction_;
  std::vector<std::unique_ptr<NcclSlot>> slots_;
  std::unique_ptr<NcclPair> pair_;  // goes before the slots, which its work uses
  std::deque<Message> messages_;
  std::deque<Part> parts_;  // under way, in order
  std::size_t next_slot_ = 0;
};

}  // namespace thinwire::comm
