// Messages over MPI: an envelope on tag 0, found by a matched probe, and for all but small messages the
// payload on a tag of its own, sent from where it lies and received where it is wanted. A small payload rides
// in the envelope.
//
// A message that the receiver expects comes without an envelope, unless it is small enough to ride in one:
// its receives are posted when it is expected.
//
// The tag is made of the sequence's low bits; the envelope carries all of it, and the size, so that the
// receiver can decide before it makes room. Nobody waits in here: every MPI call returns at once, deadlines
// are the communicator's. Joining and leaving the world are polled against their own.
#include <mpi.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "comm/backend/mpi/mpi_check.h"
#include "comm/backend/mpi/mpi_session.h"
#include "comm/backend/spare_buffers.h"
#include "comm/backoff.h"

namespace thinwire::comm {

namespace {

enum class Kind : std::uint8_t { kMessage = 1, kGoodbye = 2 };

struct Envelope {
  std::uint32_t magic;
  Kind kind;
  Traffic traffic;
  std::array<std::uint8_t, 2> reserved;
  std::uint64_t sequence;
  std::uint64_t num_bytes;  // of the payload, or of the goodbye's reason, which is always inside
};
static_assert(sizeof(Envelope) == 24);

constexpr std::uint32_t kMagic = 0x54574d31;  // "TWM1": another release does not mix in
constexpr std::size_t kInlineBytes = 2048;    // within the eager limit of every Open MPI transport
constexpr int kEnvelopeTag = 0;

using Key = std::pair<int, std::uint64_t>;  // peer, sequence

// One message under way in one direction; shared by its requests.
struct Transfer {
  TransportEvent::Kind direction = TransportEvent::Kind::kSent;
  Key key;
  Buffer data;  // the envelope of a message that is sent, the payload of one that is received
  int remaining = 0;
  bool expected = false;         // its size is the receiver's word, not the sender's
  std::size_t num_received = 0;  // while expected
};

// MPI writes to the memory of a receive that a peer answers late, and reads that of a send, from whatever
// call of this process comes next, on any communicator; a matched request cannot be cancelled. So what is
// under way when a transport ends is never freed.
void leave_to_mpi(std::vector<std::shared_ptr<const void>> memory) {
  static std::mutex mutex;
  static auto& kept = *new std::vector<std::shared_ptr<const void>>;
  const std::scoped_lock lock(mutex);
  std::move(memory.begin(), memory.end(), std::back_inserter(kept));
}

class MpiTransport final : public Transport {
 public:
  MpiTransport(std::shared_ptr<MpiSession> session, double timeout_s);
  ~MpiTransport() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view name() const override { return "mpi"; }

  Clock::time_point send(const OutgoingMessage& message) override;
  void expect(int peer, std::uint64_t sequence, std::size_t num_bytes) override;
  void accept(int peer, std::uint64_t sequence) override;
  void reuse(Buffer storage) override { spare_.put(std::move(storage)); }
  void poll(std::vector<TransportEvent>& events) override;
  void leave(std::string_view reason) noexcept override;
  void keep(std::shared_ptr<const void> owner) override { kept_.push_back(std::move(owner)); }

 private:
  struct Announced {
    std::size_t num_bytes = 0;
    Buffer inside;  // the payload, if it came with the envelope
  };

  void complete(MPI_Request request, const char* what);
  void leave_together();
  MPI_Request* add_request(const std::shared_ptr<Transfer>& transfer);
  void send_envelope(const Envelope& envelope, std::span<const std::byte> inside, int peer,
                     const std::shared_ptr<Transfer>& transfer);
  void receive(const std::shared_ptr<Transfer>& transfer, std::size_t num_bytes);
  void check_size(Transfer& transfer, const MPI_Status& status) const;
  void finish_requests(std::vector<TransportEvent>& events);
  void finish(Transfer& transfer, std::vector<TransportEvent>& events);
  bool probe(std::vector<TransportEvent>& events);
  void open(int peer, std::span<const std::byte> bytes, std::vector<TransportEvent>& events);
  int payload_tag(std::uint64_t sequence) const { return 1 + static_cast<int>(sequence % max_tag_); }

  const std::shared_ptr<MpiSession>
      session_;  // shared by all transports of the process; the last one ends MPI
  const double timeout_s_;
  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
  std::uint64_t max_tag_ = 1;
  bool joined_ = false;  // comm_ is there
  bool left_ = false;
  bool peer_left_ = false;

  // Requests under way and, at the same index, whose they are.
  std::vector<MPI_Request> requests_;
  std::vector<std::shared_ptr<Transfer>> owners_;
  std::vector<std::shared_ptr<const void>> kept_;  // of what the sends among them read
  std::vector<int> indices_;
  std::vector<MPI_Status> statuses_;

  std::map<Key, Announced> announced_;
  SpareBuffers spare_;
  std::vector<TransportEvent> ready_;
};

MpiTransport::MpiTransport(std::shared_ptr<MpiSession> session, double timeout_s)
    : session_(std::move(session)), timeout_s_(timeout_s) {
  MPI_Request request = MPI_REQUEST_NULL;
  THINWIRE_MPI_CHECK(MPI_Comm_idup(MPI_COMM_WORLD, &comm_, &request));
  try {
    complete(request, "join the world");
  } catch (const CommError&) {
    session_->abandon();
    throw;
  }
  THINWIRE_MPI_CHECK(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN));
  THINWIRE_MPI_CHECK(MPI_Comm_rank(comm_, &rank_));
  THINWIRE_MPI_CHECK(MPI_Comm_size(comm_, &size_));
  int* tag_limit = nullptr;
  int found = 0;
  THINWIRE_MPI_CHECK(MPI_Comm_get_attr(comm_, MPI_TAG_UB, &tag_limit, &found));
  joined_ = true;
  max_tag_ = found != 0 ? static_cast<std::uint64_t>(*tag_limit) : 32767;  // the least that MPI promises
}

// All ranks leave together, so that nobody's last message is cut off. After an error, or if a peer does not
// come, MPI is abandoned.
MpiTransport::~MpiTransport() {
  try {
    if (!left_) leave_together();
  } catch (const CommError&) {
    session_->abandon();
  }
  if (owners_.empty()) return;
  std::move(owners_.begin(), owners_.end(), std::back_inserter(kept_));
  leave_to_mpi(std::move(kept_));
}

void MpiTransport::leave_together() {
  MPI_Request request = MPI_REQUEST_NULL;
  THINWIRE_MPI_CHECK(MPI_Ibarrier(comm_, &request));
  complete(request, "leave the world");
  THINWIRE_MPI_CHECK(MPI_Comm_free(&comm_));
}

// Polls a request of the constructor or destructor, for which nobody else polls, against the deadline.
void MpiTransport::complete(MPI_Request request, const char* what) {
  const auto start = Clock::now();
  std::vector<TransportEvent> events;
  Backoff backoff;
  for (;;) {
    int done = 0;
    THINWIRE_MPI_CHECK(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    if (done != 0) return;
    if (joined_) poll(events);
    if (peer_left_ || seconds_of(Clock::now() - start) > timeout_s_) {
      throw CommError(
          peer_left_ ? CommError::Kind::kPeerLost : CommError::Kind::kTimeout,
          fmt::format("[mpi] rank {}: expected all {} ranks to {}, some did not within {} s; look at their "
                      "logs, or raise comm.timeout_s",
                      rank_, size_, what, timeout_s_));
    }
    events.clear();
    backoff.pause(std::nullopt);
  }
}

MPI_Request* MpiTransport::add_request(const std::shared_ptr<Transfer>& transfer) {
  ++transfer->remaining;
  owners_.push_back(transfer);
  return &requests_.emplace_back(MPI_REQUEST_NULL);
}

void MpiTransport::send_envelope(const Envelope& envelope, std::span<const std::byte> inside, int peer,
                                 const std::shared_ptr<Transfer>& transfer) {
  transfer->data.resize(sizeof(envelope) + inside.size());
  std::memcpy(transfer->data.data(), &envelope, sizeof(envelope));
  std::copy(inside.begin(), inside.end(), transfer->data.begin() + sizeof(envelope));
  THINWIRE_MPI_CHECK(MPI_Isend(transfer->data.data(), static_cast<int>(transfer->data.size()), MPI_BYTE, peer,
                               kEnvelopeTag, comm_, add_request(transfer)));
}

Clock::time_point MpiTransport::send(const OutgoingMessage& message) {
  const auto transfer = std::make_shared<Transfer>();
  transfer->direction = TransportEvent::Kind::kSent;
  transfer->key = {message.peer, message.sequence};
  const bool fits = message.bytes.size() <= kInlineBytes;
  if (fits || !message.expected)
    send_envelope({.magic = kMagic,
                   .kind = Kind::kMessage,
                   .traffic = message.traffic,
                   .reserved = {},
                   .sequence = message.sequence,
                   .num_bytes = message.bytes.size()},
                  fits ? message.bytes : std::span<const std::byte>(), message.peer, transfer);
  for (std::size_t at = fits ? message.bytes.size() : 0; at < message.bytes.size(); at += kMpiPartBytes) {
    const auto part = message.bytes.subspan(at, std::min(kMpiPartBytes, message.bytes.size() - at));
    THINWIRE_MPI_CHECK(MPI_Isend(part.data(), static_cast<int>(part.size()), MPI_BYTE, message.peer,
                                 payload_tag(message.sequence), comm_, add_request(transfer)));
  }
  return Clock::now();
}

void MpiTransport::expect(int peer, std::uint64_t sequence, std::size_t num_bytes) {
  if (num_bytes <= kInlineBytes) return;
  const auto transfer = std::make_shared<Transfer>();
  transfer->direction = TransportEvent::Kind::kReceived;
  transfer->key = {peer, sequence};
  transfer->expected = true;
  receive(transfer, num_bytes);
}

void MpiTransport::accept(int peer, std::uint64_t sequence) {
  auto announced = announced_.extract({peer, sequence});
  const auto transfer = std::make_shared<Transfer>();
  transfer->direction = TransportEvent::Kind::kReceived;
  transfer->key = {peer, sequence};
  if (announced.mapped().num_bytes <= kInlineBytes) {
    transfer->data = std::move(announced.mapped().inside);
    finish(*transfer, ready_);
    return;
  }
  receive(transfer, announced.mapped().num_bytes);
}

void MpiTransport::receive(const std::shared_ptr<Transfer>& transfer, std::size_t num_bytes) {
  transfer->data = spare_.take();
  transfer->data.resize(num_bytes);
  for (std::size_t at = 0; at < transfer->data.size(); at += kMpiPartBytes) {
    const auto part =
        std::span(transfer->data).subspan(at, std::min(kMpiPartBytes, transfer->data.size() - at));
    THINWIRE_MPI_CHECK(MPI_Irecv(part.data(), static_cast<int>(part.size()), MPI_BYTE, transfer->key.first,
                                 payload_tag(transfer->key.second), comm_, add_request(transfer)));
  }
}

void MpiTransport::poll(std::vector<TransportEvent>& events) {
  if (left_) return;
  std::move(ready_.begin(), ready_.end(), std::back_inserter(events));
  ready_.clear();
  finish_requests(events);
  for (int i = 0; i < 64 && probe(events); ++i) {
  }
}

void MpiTransport::finish_requests(std::vector<TransportEvent>& events) {
  if (requests_.empty()) return;
  indices_.resize(requests_.size());
  statuses_.resize(requests_.size());
  int num_done = 0;
  THINWIRE_MPI_CHECK(MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &num_done,
                                  indices_.data(), statuses_.data()));
  if (num_done == MPI_UNDEFINED || num_done == 0) return;
  for (int i = 0; i < num_done; ++i) {
    Transfer& transfer = *owners_[indices_[i]];
    --transfer.remaining;
    if (transfer.expected) check_size(transfer, statuses_[i]);
    finish(transfer, events);
    owners_[indices_[i]].reset();
  }
  std::erase(owners_, nullptr);
  std::erase(requests_, MPI_REQUEST_NULL);
}

// Only the sizes of whole messages were agreed, so that a short part shows when the last has come.
void MpiTransport::check_size(Transfer& transfer, const MPI_Status& status) const {
  int count = 0;
  THINWIRE_MPI_CHECK(MPI_Get_count(&status, MPI_BYTE, &count));
  transfer.num_received += static_cast<std::size_t>(std::max(count, 0));
  if (transfer.remaining > 0 || transfer.num_received == transfer.data.size()) return;
  throw CommError(
      CommError::Kind::kBadMessage,
      fmt::format(
          "[mpi] rank {}, peer {}, seq {}: expected {} bytes, got {}; compare codec, block, fragments "
          "and model on all ranks",
          rank_, transfer.key.first, transfer.key.second, transfer.data.size(), transfer.num_received));
}

void MpiTransport::finish(Transfer& transfer, std::vector<TransportEvent>& events) {
  const bool complete = transfer.remaining == 0;
  const bool received = complete && transfer.direction == TransportEvent::Kind::kReceived;
  events.push_back({.kind = complete ? transfer.direction : TransportEvent::Kind::kMoved,
                    .peer = transfer.key.first,
                    .sequence = transfer.key.second,
                    .data = received ? std::move(transfer.data) : Buffer()});
}

// Takes one envelope, if one has come.
bool MpiTransport::probe(std::vector<TransportEvent>& events) {
  int found = 0;
  MPI_Message message = MPI_MESSAGE_NULL;
  MPI_Status status;
  THINWIRE_MPI_CHECK(MPI_Improbe(MPI_ANY_SOURCE, kEnvelopeTag, comm_, &found, &message, &status));
  if (found == 0) return false;
  int count = 0;
  THINWIRE_MPI_CHECK(MPI_Get_count(&status, MPI_BYTE, &count));
  std::array<std::byte, sizeof(Envelope) + kInlineBytes> bytes;
  if (count < 0 || static_cast<std::size_t>(count) > bytes.size()) {
    throw CommError(
        CommError::Kind::kBadMessage,
        fmt::format("[mpi] rank {}, peer {}: expected an envelope of at most {} bytes, got {}; run the same "
                    "release on all workers",
                    rank_, status.MPI_SOURCE, bytes.size(), count));
  }
  // Small and matched: it is here, so that this does not wait.
  THINWIRE_MPI_CHECK(MPI_Mrecv(bytes.data(), count, MPI_BYTE, &message, MPI_STATUS_IGNORE));
  open(status.MPI_SOURCE, std::span(bytes).first(static_cast<std::size_t>(count)), events);
  return true;
}

void MpiTransport::open(int peer, std::span<const std::byte> bytes, std::vector<TransportEvent>& events) {
  Envelope envelope{};
  std::memcpy(&envelope, bytes.data(), std::min(bytes.size(), sizeof(envelope)));
  const auto inside = bytes.subspan(std::min(bytes.size(), sizeof(envelope)));
  const bool carries_all = envelope.num_bytes <= kInlineBytes;
  if (bytes.size() < sizeof(envelope) || envelope.magic != kMagic ||
      inside.size() != (carries_all ? envelope.num_bytes : 0)) {
    throw CommError(
        CommError::Kind::kBadMessage,
        fmt::format("[mpi] rank {}, peer {}: expected an envelope of thinwire {:#x}, got {} bytes that begin "
                    "with {:#x} and promise {}; run the same release on all workers",
                    rank_, peer, kMagic, bytes.size(), envelope.magic, envelope.num_bytes));
  }
  if (envelope.kind == Kind::kGoodbye) {
    peer_left_ = true;
    const auto* text = reinterpret_cast<const char*>(inside.data());
    events.push_back(
        {.kind = TransportEvent::Kind::kLost, .peer = peer, .reason = std::string(text, inside.size())});
    return;
  }
  announced_[{peer, envelope.sequence}] = {envelope.num_bytes, Buffer(inside.begin(), inside.end())};
  events.push_back({.kind = TransportEvent::Kind::kAnnounced,
                    .peer = peer,
                    .sequence = envelope.sequence,
                    .traffic = envelope.traffic,
                    .num_bytes = envelope.num_bytes});
}

// The goodbyes are small and go out at once where MPI still works. What is under way stays with MPI, which
// this transport does not call again.
void MpiTransport::leave(std::string_view reason) noexcept {
  if (std::exchange(left_, true)) return;
  session_->abandon();
  reason = reason.substr(0, kInlineBytes);
  const Envelope goodbye{.magic = kMagic,
                         .kind = Kind::kGoodbye,
                         .traffic = Traffic::kControl,
                         .reserved = {},
                         .sequence = 0,
                         .num_bytes = reason.size()};
  try {
    for (int peer = 0; peer < size_; ++peer) {
      if (peer == rank_) continue;
      send_envelope(goodbye, std::as_bytes(std::span(reason)), peer, std::make_shared<Transfer>());
    }
  } catch (const CommError&) {  // the peers will find out by their deadlines
  }
}

}  // namespace

std::unique_ptr<Transport> make_mpi_transport(std::shared_ptr<MpiSession> session, double timeout_s) {
  return std::make_unique<MpiTransport>(std::move(session), timeout_s);
}

}  // namespace thinwire::comm
