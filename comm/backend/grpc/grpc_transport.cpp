// Messages over gRPC. gRPC's own threads move bytes and put what happened into the inbox; this side only
// looks there, so that nothing blocks and a peer's data is taken in while nobody polls.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "comm/backend/grpc/address.h"
#include "comm/backend/grpc/attendance.h"
#include "comm/backend/grpc/grpc_backend.h"
#include "comm/backend/grpc/inbound.h"
#include "comm/backend/grpc/outbound.h"
#include "comm/backend/grpc/tls_files.h"
#include "comm/backoff.h"
#include "comm/errors.h"

namespace thinwire::comm {

namespace {

using Key = std::pair<int, std::uint64_t>;  // peer, sequence

// A broken connection waits so long for a better reason: the peer's goodbye or the coordinator's word. A
// goodbye waits so long for news of what was sent to the peer: it comes by a connection of its own, and may
// be faster.
constexpr std::chrono::milliseconds kSuspicionTime{500};

class GrpcTransport final : public Transport {
 public:
  explicit GrpcTransport(const BackendOptions& options);
  ~GrpcTransport() override;

  int rank() const override { return placement_.rank; }
  int size() const override { return static_cast<int>(placement_.members.size()); }
  std::string_view name() const override { return "grpc"; }

  Clock::time_point send(const OutgoingMessage& message) override {
    if (Outbound* peer = peers_[message.peer].get()) peer->send(message);
    return Clock::now();
  }

  void accept(int peer, std::uint64_t sequence) override {
    auto whole = whole_.extract({peer, sequence});
    if (whole.empty()) return inbound_.accept(peer, sequence);
    ready_.push_back({.kind = TransportEvent::Kind::kReceived,
                      .peer = peer,
                      .sequence = sequence,
                      .data = std::move(whole.mapped())});
  }

  void poll(std::vector<TransportEvent>& events) override;
  void leave(std::string_view reason) noexcept override;

 private:
  struct Suspicion {
    std::string reason;
    Clock::time_point due;  // to be told then; told if never
    bool said_goodbye = false;
    bool settled = false;  // goodbye, and nothing sent to it is unsettled
  };

  void take(Inbox::Entry& entry, std::vector<TransportEvent>& events);
  void wait_for_peers(double limit_s);
  void confirm_suspicions(std::vector<TransportEvent>& events);
  void wait_until_heard();

  const double timeout_s_;
  const std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
  Inbound inbound_;
  Attendance attendance_;
  Placement placement_;
  std::vector<std::unique_ptr<Outbound>> peers_;  // by rank; none for the own
  bool left_ = false;
  std::vector<TransportEvent> ready_;
  std::map<Key, Buffer> whole_;  // announced, came whole, not accepted
  std::map<int, Suspicion> suspicions_;
};

TransportEvent lost(int peer, const std::string& reason) {
  return {.kind = TransportEvent::Kind::kLost, .peer = peer, .reason = reason};
}

Address checked_listen(const GrpcOptions& options) {
  Address address = parse_address(options.listen, "--listen");
  require_tls_or_loopback(address, options.tls_dir, "--listen");
  require_tls_or_loopback(parse_address(options.coordinator, "--coordinator"), options.tls_dir,
                          "--coordinator");
  if (address.host == "0.0.0.0" || address.host == "::") {
    throw std::invalid_argument(fmt::format(
        "--listen: expected the address at which the other workers reach this one, found {}; name "
        "the host or its address",
        options.listen));
  }
  return address;
}

GrpcTransport::GrpcTransport(const BackendOptions& options)
    : timeout_s_(options.timeout_s),
      inbound_(checked_listen(options.grpc), read_tls_files(options.grpc.tls_dir), inbox_),
      attendance_({.coordinator = options.grpc.coordinator, .timeout_s = options.grpc.rendezvous_s},
                  read_tls_files(options.grpc.tls_dir), inbox_) {
  const std::string address = to_string(inbound_.address());
  placement_ = attendance_.join({.token = options.grpc.token,
                                 .name = options.grpc.name.empty() ? address : options.grpc.name,
                                 .address = address,
                                 .rank = options.grpc.rank,
                                 .config_digest = options.grpc.config_digest,
                                 .start_digest = options.grpc.start_digest,
                                 .config = options.grpc.config});
  inbound_.admit(placement_.world, rank(), size());
  const TlsFiles tls = read_tls_files(options.grpc.tls_dir);
  for (const Member& member : placement_.members) {
    peers_.push_back(
        member.rank == rank()
            ? nullptr
            : std::make_unique<Outbound>(
                  Outbound::Options{
                      .peer = member, .own_rank = rank(), .world = placement_.world, .timeout_s = timeout_s_},
                  tls, inbox_));
  }
  wait_for_peers(options.grpc.rendezvous_s);
}

GrpcTransport::~GrpcTransport() {
  if (!left_) {
    for (const auto& peer : peers_) {
      if (peer) peer->leave("its communicator was closed");
    }
    attendance_.leave(true, "");
  }
  wait_until_heard();
  peers_.clear();  // before the inbound side: their calls hear of cancellation from here
}

void GrpcTransport::poll(std::vector<TransportEvent>& events) {
  std::move(ready_.begin(), ready_.end(), std::back_inserter(events));
  ready_.clear();
  // Before the inbox is read: what settled it is then told before the loss.
  for (auto& [peer, suspicion] : suspicions_) {
    suspicion.settled = suspicion.said_goodbye && peers_[peer]->settled();
  }
  auto entries = inbox_->take();
  if (left_) return;
  for (Inbox::Entry& entry : entries) take(entry, events);
  if (!suspicions_.empty()) confirm_suspicions(events);
}

void GrpcTransport::take(Inbox::Entry& entry, std::vector<TransportEvent>& events) {
  TransportEvent& event = entry.event;
  if (event.peer < 0 || event.peer >= size() || event.peer == rank()) return;  // the coordinator misnames it
  if (entry.suspected) {
    suspicions_.try_emplace(event.peer, Suspicion{event.reason, Clock::now() + kSuspicionTime});
    return;
  }
  if (event.kind == TransportEvent::Kind::kLost) {
    Suspicion& suspicion = suspicions_[event.peer];
    if (!suspicion.said_goodbye && suspicion.due != Clock::time_point::max()) {
      suspicion = {event.reason, Clock::now() + kSuspicionTime, true};
    }
    return;
  }
  if (event.kind == TransportEvent::Kind::kAnnounced && event.num_bytes == event.data.size()) {
    whole_.try_emplace({event.peer, event.sequence}, std::exchange(event.data, {}));
  }
  events.push_back(std::move(event));
}

// Every peer has answered, so that an address or a certificate that does not fit shows before the first
// exchange. A peer that is lost meanwhile ends the wait; the first exchange says why.
void GrpcTransport::wait_for_peers(double limit_s) {
  const auto deadline = Clock::now() + duration_of(limit_s);
  Backoff backoff;
  for (const Member& member : placement_.members) {
    while (peers_[member.rank] && !peers_[member.rank]->connected()) {
      if (Clock::now() > deadline) {
        inbox_->push(
            lost(member.rank, fmt::format("it took no connection at {} within {:.1f} s; is that address open "
                                          "between these machines, and does its certificate name that host?",
                                          member.address, limit_s)));
      }
      std::vector<TransportEvent> events;
      poll(events);
      const bool any_lost = std::any_of(events.begin(), events.end(), [](const TransportEvent& event) {
        return event.kind == TransportEvent::Kind::kLost;
      });
      std::move(events.begin(), events.end(), std::back_inserter(ready_));
      if (any_lost) return;
      backoff.pause(std::nullopt);
    }
  }
}

void GrpcTransport::confirm_suspicions(std::vector<TransportEvent>& events) {
  const auto now = Clock::now();
  for (auto& [peer, suspicion] : suspicions_) {
    const bool told = suspicion.due == Clock::time_point::max();
    if (told || (now < suspicion.due && !suspicion.settled)) continue;
    suspicion.due = Clock::time_point::max();
    events.push_back(lost(peer, suspicion.reason));
  }
}

void GrpcTransport::leave(std::string_view reason) noexcept {
  if (std::exchange(left_, true)) return;
  try {
    for (const auto& peer : peers_) {
      if (peer) peer->leave(reason);
    }
    attendance_.leave(false, reason);
  } catch (const std::exception&) {  // the peers will find out by their deadlines
  }
}

void GrpcTransport::wait_until_heard() {
  const auto deadline = Clock::now() + kFarewellTime;
  for (const auto& peer : peers_) {
    if (peer) peer->wait_until_heard(deadline);
  }
}

}  // namespace

std::unique_ptr<Transport> connect_grpc(const BackendOptions& options) {
  return std::make_unique<GrpcTransport>(options);
}

}  // namespace thinwire::comm
