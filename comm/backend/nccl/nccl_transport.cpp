#include "comm/backend/nccl/nccl_transport.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "comm/backend/nccl/nccl_lane.h"
#include "comm/backoff.h"
#include "comm/errors.h"

namespace thinwire::comm {

namespace {

// What travels on control, before what is inside.
struct Record {
  enum class Kind : std::uint8_t {
    kId = 1,   // inside: the id of the sender's lane to the receiver
    kMessage,  // num_bytes of `sequence`; inside if they are few
    kAccept,   // of a message of many bytes: its receives are posted
    kDone,     // all its bytes have come
  };
  std::uint32_t magic;
  Kind kind;
  Traffic traffic;
  std::array<std::uint8_t, 2> reserved;
  std::uint64_t sequence;
  std::uint64_t num_bytes;
};
static_assert(sizeof(Record) == 24);

constexpr std::uint32_t kMagic = 0x54574e31;  // "TWN1": another release does not mix in
// With its record within the 2 KiB that MPI sends at once.
constexpr std::size_t kInlineBytes = 2048 - sizeof(Record);

using Key = std::pair<int, std::uint64_t>;  // peer, sequence

struct Peer {
  std::optional<NcclLane> to;
  std::optional<NcclLane> from;
  // Control messages of this pair are numbered in either direction; those that overtake others wait.
  std::uint64_t next_outgoing = 0;
  std::uint64_t next_incoming = 0;
  std::map<std::uint64_t, Buffer> early;
  std::size_t num_announced = 0;        // control messages of which the bytes are not here yet
  std::optional<std::string> farewell;  // held back until they are
};

// A long message that this rank sends.
struct Outgoing {
  std::span<const std::byte> bytes;
  bool accepted = false;
  bool through = false;    // has left this device
  bool confirmed = false;  // has come to the receiver
};

class NcclTransport final : public Transport {
 public:
  NcclTransport(std::unique_ptr<NcclApi> api, std::unique_ptr<Transport> control, double timeout_s);

  int rank() const override { return control_->rank(); }
  int size() const override { return control_->size(); }
  std::string_view name() const override { return "nccl"; }

  Clock::time_point send(const OutgoingMessage& message) override;
  void accept(int peer, std::uint64_t sequence) override;
  void poll(std::vector<TransportEvent>& events) override;
  void leave(std::string_view reason) noexcept override;

 private:
  struct Announced {
    std::size_t num_bytes = 0;
    Buffer inside;
  };

  void join(double timeout_s);
  void join_all();
  std::optional<int> missing_peer();
  void tell(int peer, const Record& record, std::span<const std::byte> inside = {});
  void pump(int peer);
  void poll_control();
  void handle(TransportEvent& event);
  void open(int peer, std::span<const std::byte> bytes);
  void open_message(int peer, const Record& record, std::span<const std::byte> inside);
  void open_accept(int peer, std::uint64_t sequence);
  void open_done(int peer, std::uint64_t sequence);
  Outgoing& require_outgoing(int peer, std::uint64_t sequence, bool accepted);
  void finish_if_sent(int peer, std::uint64_t sequence);
  [[noreturn]] void fail(int peer, const quant::cuda::CudaError& error) const;
  [[noreturn]] void refuse(int peer, const std::string& found) const;
  CommError comm_error(CommError::Kind kind, int peer, const std::string& text) const {
    return CommError(kind, fmt::format("[nccl] rank {}, peer {}: {}", rank(), peer, text));
  }

  const std::unique_ptr<NcclApi> api_;
  std::vector<Peer> peers_;  // by rank; the own one stays empty
  // Goes before the lanes: where control leaves together, nobody's lane ends before all have their bytes.
  const std::unique_ptr<Transport> control_;
  bool left_ = false;
  std::map<Key, Buffer> outbox_;  // records under way, by their number on control
  std::map<Key, Outgoing> outgoing_;
  std::map<Key, Announced> announced_;
  std::vector<TransportEvent> ready_;
  std::vector<TransportEvent> control_events_;
  std::vector<NcclLane::Progress> progress_;
};

Record record_of(Record::Kind kind, std::uint64_t sequence, std::size_t num_bytes = 0,
                 Traffic traffic = Traffic::kControl) {
  return {.magic = kMagic,
          .kind = kind,
          .traffic = traffic,
          .reserved = {},
          .sequence = sequence,
          .num_bytes = num_bytes};
}

NcclTransport::NcclTransport(std::unique_ptr<NcclApi> api, std::unique_ptr<Transport> control,
                             double timeout_s)
    : api_(std::move(api)), peers_(static_cast<std::size_t>(control->size())), control_(std::move(control)) {
  try {
    join(timeout_s);
  } catch (const CommError& error) {
    leave(error.what());
    throw;
  }
}

void NcclTransport::join(double timeout_s) {
  join_all();
  const auto deadline = Clock::now() + duration_of(timeout_s);
  Backoff backoff;
  while (const std::optional<int> peer = missing_peer()) {
    if (peers_[*peer].farewell) {
      throw comm_error(CommError::Kind::kPeerLost, *peer,
                       "it left while joining: " + *peers_[*peer].farewell);
    }
    if (Clock::now() > deadline) {
      throw comm_error(CommError::Kind::kTimeout, *peer,
                       fmt::format("expected it to join NCCL within {} s; look at that rank's log, run with "
                                   "NCCL_DEBUG=INFO, or raise comm.timeout_s",
                                   timeout_s));
    }
    poll_control();
    backoff.pause(std::nullopt);
  }
}

// The sender of a lane makes its id.
void NcclTransport::join_all() {
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    try {
      const NcclId id = api_->make_id();
      tell(peer, record_of(Record::Kind::kId, 0, id.size()), id);
      peers_[peer].to.emplace(*api_, id, NcclLane::Direction::kSend);
    } catch (const quant::cuda::CudaError& error) {
      fail(peer, error);
    }
  }
}

std::optional<int> NcclTransport::missing_peer() {
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    try {
      if (!peers_[peer].from || !peers_[peer].from->is_joined() || !peers_[peer].to->is_joined()) return peer;
    } catch (const quant::cuda::CudaError& error) {
      fail(peer, error);
    }
  }
  return std::nullopt;
}

void NcclTransport::tell(int peer, const Record& record, std::span<const std::byte> inside) {
  const std::uint64_t number = peers_[peer].next_outgoing++;
  Buffer& bytes = outbox_[{peer, number}];
  bytes.resize(sizeof record + inside.size());
  std::memcpy(bytes.data(), &record, sizeof record);
  std::copy(inside.begin(), inside.end(), bytes.begin() + sizeof record);
  control_->send({.peer = peer, .sequence = number, .traffic = Traffic::kControl, .bytes = bytes});
}

Clock::time_point NcclTransport::send(const OutgoingMessage& message) {
  const bool fits = message.bytes.size() <= kInlineBytes;
  const Record record =
      record_of(Record::Kind::kMessage, message.sequence, message.bytes.size(), message.traffic);
  tell(message.peer, record, fits ? message.bytes : std::span<const std::byte>());
  if (fits) {
    ready_.push_back(
        {.kind = TransportEvent::Kind::kSent, .peer = message.peer, .sequence = message.sequence});
  } else {
    outgoing_[{message.peer, message.sequence}] = {.bytes = message.bytes};
  }
  return Clock::now();
}

void NcclTransport::accept(int peer, std::uint64_t sequence) {
  auto announced = announced_.extract({peer, sequence});
  Announced& message = announced.mapped();
  if (message.num_bytes <= kInlineBytes) {
    ready_.push_back({.kind = TransportEvent::Kind::kReceived,
                      .peer = peer,
                      .sequence = sequence,
                      .data = std::move(message.inside)});
    return;
  }
  // In one step, so that the lane has the order in which the sender hears of it.
  peers_[peer].from->receive(sequence, message.num_bytes);
  tell(peer, record_of(Record::Kind::kAccept, sequence));
}

void NcclTransport::poll(std::vector<TransportEvent>& events) {
  if (left_) return;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    try {
      pump(peer);
    } catch (const quant::cuda::CudaError& error) {
      fail(peer, error);
    }
  }
  poll_control();
  std::move(ready_.begin(), ready_.end(), std::back_inserter(events));
  ready_.clear();
  for (int peer = 0; peer < size(); ++peer) {
    if (!peers_[peer].farewell || peers_[peer].num_announced > 0) continue;
    events.push_back({.kind = TransportEvent::Kind::kLost,
                      .peer = peer,
                      .reason = *std::exchange(peers_[peer].farewell, std::nullopt)});
  }
}

void NcclTransport::pump(int peer) {
  using Kind = TransportEvent::Kind;
  progress_.clear();
  peers_[peer].from->pump(progress_);
  for (NcclLane::Progress& part : progress_) {
    if (part.finished) tell(peer, record_of(Record::Kind::kDone, part.sequence));
    ready_.push_back({.kind = part.finished ? Kind::kReceived : Kind::kMoved,
                      .peer = peer,
                      .sequence = part.sequence,
                      .data = std::move(part.data)});
  }
  progress_.clear();
  peers_[peer].to->pump(progress_);
  for (const NcclLane::Progress& part : progress_) {
    if (part.finished) {
      outgoing_[{peer, part.sequence}].through = true;
      finish_if_sent(peer, part.sequence);
    } else {
      ready_.push_back({.kind = Kind::kMoved, .peer = peer, .sequence = part.sequence});
    }
  }
}

// A second round mostly finds the bytes of what the first one accepted.
void NcclTransport::poll_control() {
  for (int round = 0; round < 2; ++round) {
    control_events_.clear();
    control_->poll(control_events_);
    for (TransportEvent& event : control_events_) handle(event);
  }
}

void NcclTransport::handle(TransportEvent& event) {
  using Kind = TransportEvent::Kind;
  Peer& peer = peers_[event.peer];
  if (event.kind == Kind::kSent) outbox_.erase({event.peer, event.sequence});
  if (event.kind == Kind::kLost) peer.farewell = std::move(event.reason);
  if (event.kind == Kind::kAnnounced) {
    if (event.num_bytes > sizeof(Record) + kInlineBytes) {
      refuse(event.peer, fmt::format("a record that announced {} bytes", event.num_bytes));
    }
    ++peer.num_announced;
    control_->accept(event.peer, event.sequence);
  }
  if (event.kind != Kind::kReceived) return;
  --peer.num_announced;
  peer.early[event.sequence] = std::move(event.data);
  while (!peer.early.empty() && peer.early.begin()->first == peer.next_incoming) {
    open(event.peer, peer.early.begin()->second);
    peer.early.erase(peer.early.begin());
    ++peer.next_incoming;
  }
}

void NcclTransport::open(int peer, std::span<const std::byte> bytes) {
  Record record{};
  std::memcpy(&record, bytes.data(), std::min(bytes.size(), sizeof record));
  if (bytes.size() < sizeof record || record.magic != kMagic) {
    refuse(peer, fmt::format("{} bytes that begin with {:#x}", bytes.size(), record.magic));
  }
  const auto inside = bytes.subspan(sizeof record);
  const bool has_inside = record.kind == Record::Kind::kId ||
                          (record.kind == Record::Kind::kMessage && record.num_bytes <= kInlineBytes);
  if (inside.size() != (has_inside ? record.num_bytes : 0)) {
    refuse(peer, fmt::format("a record of {} bytes that holds {}", record.num_bytes, inside.size()));
  }
  switch (record.kind) {
    case Record::Kind::kId: {
      NcclId id{};
      if (inside.size() != id.size() || peers_[peer].from) refuse(peer, "an id of NCCL out of place");
      std::copy(inside.begin(), inside.end(), id.begin());
      try {
        peers_[peer].from.emplace(*api_, id, NcclLane::Direction::kReceive);
      } catch (const quant::cuda::CudaError& error) {
        fail(peer, error);
      }
      return;
    }
    case Record::Kind::kMessage:
      return open_message(peer, record, inside);
    case Record::Kind::kAccept:
      return open_accept(peer, record.sequence);
    case Record::Kind::kDone:
      return open_done(peer, record.sequence);
  }
  refuse(peer, fmt::format("a record of kind {}", static_cast<int>(record.kind)));
}

void NcclTransport::open_message(int peer, const Record& record, std::span<const std::byte> inside) {
  announced_[{peer, record.sequence}] = {record.num_bytes, Buffer(inside.begin(), inside.end())};
  ready_.push_back({.kind = TransportEvent::Kind::kAnnounced,
                    .peer = peer,
                    .sequence = record.sequence,
                    .traffic = record.traffic,
                    .num_bytes = record.num_bytes});
}

void NcclTransport::open_accept(int peer, std::uint64_t sequence) {
  Outgoing& message = require_outgoing(peer, sequence, false);
  message.accepted = true;
  peers_[peer].to->send(sequence, message.bytes);
}

void NcclTransport::open_done(int peer, std::uint64_t sequence) {
  require_outgoing(peer, sequence, true).confirmed = true;
  finish_if_sent(peer, sequence);
}

Outgoing& NcclTransport::require_outgoing(int peer, std::uint64_t sequence, bool accepted) {
  const auto found = outgoing_.find({peer, sequence});
  if (found != outgoing_.end() && found->second.accepted == accepted && !found->second.confirmed) {
    return found->second;
  }
  refuse(peer, fmt::format("an answer to seq {} that fits nothing this rank has sent", sequence));
}

void NcclTransport::finish_if_sent(int peer, std::uint64_t sequence) {
  const auto found = outgoing_.find({peer, sequence});
  if (!found->second.through || !found->second.confirmed) return;
  outgoing_.erase(found);
  ready_.push_back({.kind = TransportEvent::Kind::kSent, .peer = peer, .sequence = sequence});
}

void NcclTransport::fail(int peer, const quant::cuda::CudaError& error) const {
  throw comm_error(CommError::Kind::kPeerLost, peer,
                   fmt::format("{}; look at that rank's log, or run with NCCL_DEBUG=INFO", error.what()));
}

void NcclTransport::refuse(int peer, const std::string& found) const {
  throw comm_error(
      CommError::Kind::kBadMessage, peer,
      fmt::format("expected a record of thinwire {:#x}, got {}; run the same release on all workers", kMagic,
                  found));
}

void NcclTransport::leave(std::string_view reason) noexcept {
  if (std::exchange(left_, true)) return;
  control_->leave(reason);
  for (Peer& peer : peers_) {
    if (peer.to) peer.to->abort();
    if (peer.from) peer.from->abort();
  }
  for (Peer& peer : peers_) {
    peer.to.reset();
    peer.from.reset();
  }
}

}  // namespace

std::unique_ptr<Transport> make_nccl_transport(std::unique_ptr<NcclApi> api,
                                               std::unique_ptr<Transport> control, double timeout_s) {
  return std::make_unique<NcclTransport>(std::move(api), std::move(control), timeout_s);
}

}  // namespace thinwire::comm
