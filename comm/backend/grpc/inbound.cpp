#include "comm/backend/grpc/inbound.h"

#include <fmt/format.h>
#include <grpcpp/alarm.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "comm/backend/grpc/endpoint.h"
#include "comm/backend/grpc/limits.h"
#include "comm/backend/grpc/roster.h"
#include "comm/clock.h"
#include "thinwire.grpc.pb.h"

namespace thinwire::comm {

namespace {

using Code = grpc::StatusCode;
using Key = std::pair<int, std::uint64_t>;  // peer, sequence

std::chrono::system_clock::time_point in(std::chrono::milliseconds time) {
  return std::chrono::system_clock::now() + time;
}

Traffic traffic_of(v1::Traffic traffic) {
  return traffic == v1::CONTROL ? Traffic::kControl : Traffic::kWire;
}

class MessageCall;

// What the calls share. Calls hold it, so that it lives as long as the last of them.
class Lobby {
 public:
  explicit Lobby(std::shared_ptr<Inbox> waiting) : inbox(std::move(waiting)) {}

  const std::shared_ptr<Inbox> inbox;

  void admit(const std::string& world, int rank, int size) {
    std::vector<std::function<void()>> early;
    {
      const std::scoped_lock lock(mutex_);
      world_ = world;
      rank_ = rank;
      size_ = size;
      early.swap(early_);
    }
    for (const auto& greet : early) greet();
  }

  // True if greetings can be judged. A peer may hear of the world before this worker does: its greeting then
  // waits, and `greet` is called by admit().
  bool is_open(std::function<void()> greet) {
    const std::scoped_lock lock(mutex_);
    if (!world_.empty() || early_.size() >= static_cast<std::size_t>(kMaxWorkers)) return true;
    early_.push_back(std::move(greet));
    return false;
  }

  void on_greeted(std::function<void(const std::string&)> tell) {
    const std::scoped_lock lock(mutex_);
    tell_greeted_ = std::move(tell);
  }
  void greeted(const std::string& connection) const {
    const std::scoped_lock lock(mutex_);
    if (tell_greeted_) tell_greeted_(connection);
  }

  // OK if the greeting is that of a peer.
  grpc::Status check(const v1::Greeting& greeting) const {
    const std::scoped_lock lock(mutex_);
    if (greeting.protocol() != kProtocol) {
      return {Code::INVALID_ARGUMENT,
              fmt::format("protocol: expected {}, found {}; run the same release on all "
                          "machines",
                          kProtocol, greeting.protocol())};
    }
    if (world_.empty() || !equal_in_constant_time(greeting.world(), world_)) {
      return {Code::UNAUTHENTICATED, "world: expected a greeting of a member of this world, found another"};
    }
    const auto peer = static_cast<std::int64_t>(greeting.rank());
    if (peer >= size_ || peer == rank_) {
      return {Code::INVALID_ARGUMENT,
              fmt::format("rank: expected a peer of rank {} in a world of {}, found {}", rank_, size_, peer)};
    }
    return grpc::Status::OK;
  }

  // False if this peer has one already.
  bool open_control(int peer) {
    const std::scoped_lock lock(mutex_);
    return controls_.insert(peer).second;
  }

  void put(const Key& key, const std::shared_ptr<MessageCall>& call) {
    const std::scoped_lock lock(mutex_);
    messages_.emplace(key, call);
  }
  std::shared_ptr<MessageCall> take(const Key& key) {
    const std::scoped_lock lock(mutex_);
    auto node = messages_.extract(key);
    return node.empty() ? nullptr : std::move(node.mapped());
  }
  void forget(const Key& key, const MessageCall* call) {
    const std::scoped_lock lock(mutex_);
    const auto found = messages_.find(key);
    if (found != messages_.end() && found->second.get() == call) messages_.erase(found);
  }

  // Calls that have not ended; the service must outlive them.
  void began() {
    const std::scoped_lock lock(mutex_);
    ++num_calls_;
  }
  void ended() {
    const std::scoped_lock lock(mutex_);
    if (--num_calls_ == 0) idle_.notify_all();
  }
  // A message was received whole; its sender hears of it when the call has ended.
  void answering() {
    const std::scoped_lock lock(mutex_);
    ++num_answers_;
  }
  void answered() {
    const std::scoped_lock lock(mutex_);
    if (--num_answers_ == 0) idle_.notify_all();
  }
  void wait_until_answered(Clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    idle_.wait_until(lock, deadline, [&] { return num_answers_ == 0; });
  }

  void wait_until_idle() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return num_calls_ == 0; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  // Guarded by mutex_.
  std::function<void(const std::string&)> tell_greeted_;
  std::vector<std::function<void()>> early_;
  std::string world_;
  int rank_ = 0;
  int size_ = 0;
  int num_calls_ = 0;
  int num_answers_ = 0;
  std::set<int> controls_;
  std::map<Key, std::shared_ptr<MessageCall>> messages_;  // announced, not accepted
};

// A call's life: gRPC holds it until OnDone. Ends it once, from whichever side comes first.
template <class Reactor>
class CallBase : public Reactor, public std::enable_shared_from_this<CallBase<Reactor>> {
 public:
  CallBase(std::shared_ptr<Lobby> lobby, const grpc::CallbackServerContext* context)
      : lobby_(std::move(lobby)), connection_(context->peer()) {
    lobby_->began();
  }

  // After construction: gRPC may be called only once a shared_ptr exists.
  void open() {
    self_ = this->shared_from_this();
    // An alarm may fire after the call is gone.
    greeting_alarm_.Set(in(kGreetingTime), [weak = std::weak_ptr<CallBase>(self_)](bool fired) {
      const auto call = weak.lock();
      if (fired && call) call->on_greeting_late();
    });
    read_first();
  }

  void OnCancel() override { finish({Code::CANCELLED, "cancelled"}); }

  void OnDone() override {
    greeting_alarm_.Cancel();
    lobby_->ended();
    self_.reset();  // perhaps the last
  }

 protected:
  virtual void read_first() = 0;

  void finish(const grpc::Status& status) {
    const std::scoped_lock lock(mutex_);
    if (std::exchange(finished_, true)) return;
    this->Finish(status);
  }

  bool is_finished() {
    const std::scoped_lock lock(mutex_);
    return finished_;
  }

  void greeted() {
    {
      const std::scoped_lock lock(mutex_);
      greeted_ = true;
    }
    lobby_->greeted(connection_);
  }

  const std::shared_ptr<Lobby> lobby_;
  const std::string connection_;  // as gRPC names it
  std::mutex mutex_;
  bool finished_ = false;  // guarded by mutex_: no operation may be started after it
  bool greeted_ = false;   // guarded by mutex_

 private:
  void on_greeting_late() {
    {
      const std::scoped_lock lock(mutex_);
      if (greeted_) return;
    }
    finish({Code::DEADLINE_EXCEEDED, fmt::format("expected a greeting within {} s", kGreetingTime.count())});
  }

  std::shared_ptr<CallBase> self_;
  grpc::Alarm greeting_alarm_;
};

// The long call of a peer: its greeting, small messages, its goodbye.
class ControlCall final : public CallBase<grpc::ServerBidiReactor<v1::ControlFrame, v1::ControlReply>> {
 public:
  using CallBase::CallBase;

  void OnReadDone(bool ok) override {
    if (!ok) return on_end();
    const auto weak = weak_from_this();
    const auto later = [weak] {
      if (const auto call = weak.lock()) static_cast<ControlCall&>(*call).take();
    };
    if (peer_ >= 0 || lobby_->is_open(later)) take();
  }

  void OnCancel() override { on_end(); }

 private:
  void take() {
    const grpc::Status status = peer_ < 0 ? greet() : take_frame();
    if (!status.ok()) {
      if (peer_ >= 0) lobby_->inbox->suspect(peer_, "it broke the protocol: " + status.error_message());
      told_ = true;
      return finish(status);
    }
    read_on();
  }

  void read_first() override { StartRead(&frame_); }

  void read_on() {
    const auto weak = weak_from_this();
    const bool room = lobby_->inbox->has_room([weak] {
      if (const auto call = weak.lock()) static_cast<ControlCall&>(*call).read_unless_finished();
    });
    if (room) read_unless_finished();
  }

  void read_unless_finished() {
    const std::scoped_lock lock(mutex_);
    if (!finished_) StartRead(&frame_);
  }

  grpc::Status greet() {
    if (!frame_.has_greeting()) return {Code::INVALID_ARGUMENT, "control: expected a greeting first"};
    grpc::Status status = lobby_->check(frame_.greeting());
    if (!status.ok()) return status;
    const int peer = static_cast<int>(frame_.greeting().rank());
    if (!lobby_->open_control(peer)) {
      return {Code::ALREADY_EXISTS, fmt::format("rank {}: expected one control call, found a second", peer)};
    }
    peer_ = peer;
    greeted();
    const std::scoped_lock lock(mutex_);
    if (!finished_) StartWrite(&reply_);
    return grpc::Status::OK;
  }

  grpc::Status take_frame() {
    if (frame_.has_goodbye()) {
      told_ = true;
      lobby_->inbox->push({.kind = TransportEvent::Kind::kLost,
                           .peer = peer_,
                           .reason = frame_.goodbye().reason().substr(0, kMaxReasonBytes)});
      return grpc::Status::OK;
    }
    if (!frame_.has_message() || told_) {
      return {Code::INVALID_ARGUMENT,
              "control: expected a message or a goodbye, and nothing behind a goodbye"};
    }
    const v1::WholeMessage& message = frame_.message();
    if (message.data().size() > kInlineBytes) {
      return {Code::INVALID_ARGUMENT, fmt::format("control: expected a message of at most {} bytes, found {}",
                                                  kInlineBytes, message.data().size())};
    }
    const auto* bytes = reinterpret_cast<const std::byte*>(message.data().data());
    lobby_->inbox->push({.kind = TransportEvent::Kind::kAnnounced,
                         .peer = peer_,
                         .sequence = message.sequence(),
                         .traffic = traffic_of(message.traffic()),
                         .num_bytes = message.data().size(),
                         .data = Buffer(bytes, bytes + message.data().size())});
    return grpc::Status::OK;
  }

  void on_end() {
    if (peer_ >= 0 && !told_.exchange(true)) lobby_->inbox->suspect(peer_, "its connection broke");
    finish(grpc::Status::OK);
  }

  v1::ControlFrame frame_;
  v1::ControlReply reply_;
  // Read by OnCancel, which may run beside OnReadDone.
  std::atomic<int> peer_ = -1;
  std::atomic<bool> told_ = false;  // a goodbye, or why there was none
};

// One larger message.
class MessageCall final : public CallBase<grpc::ServerReadReactor<v1::DataFrame>> {
 public:
  using CallBase::CallBase;

  // On the transport's thread: makes room and reads on.
  void accept() {
    data_.resize(num_bytes_);
    const std::scoped_lock lock(mutex_);
    if (!finished_) StartRead(&frame_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return on_end();
    const grpc::Status status = num_bytes_ == 0 ? announce() : take_chunk();
    if (!status.ok()) {
      if (peer_ >= 0) lobby_->inbox->suspect(peer_, "it broke the protocol: " + status.error_message());
      whole_ = true;  // the reason is told
      finish(status);
    }
  }

  void OnCancel() override {
    on_end();
    // After it: either this finds the call in the lobby, or arrive() finds it finished.
    if (peer_ >= 0) lobby_->forget({peer_, sequence_}, this);
  }

  void OnDone() override {
    if (answering_) lobby_->answered();
    CallBase::OnDone();
  }

 private:
  void read_first() override { StartRead(&frame_); }

  grpc::Status announce() {
    if (!frame_.has_announcement()) return {Code::INVALID_ARGUMENT, "send: expected an announcement first"};
    const v1::Announcement& announcement = frame_.announcement();
    grpc::Status status = lobby_->check(announcement.greeting());
    if (!status.ok()) return status;
    greeted();
    sequence_ = announcement.sequence();
    num_bytes_ = announcement.num_bytes();
    if (num_bytes_ <= kInlineBytes) {
      return {Code::INVALID_ARGUMENT,
              fmt::format("send: expected more than {} bytes, found {}", kInlineBytes, num_bytes_)};
    }
    traffic_ = traffic_of(announcement.traffic());
    const auto later = [weak = weak_from_this(), peer = static_cast<int>(announcement.greeting().rank())] {
      if (const auto call = weak.lock()) static_cast<MessageCall&>(*call).arrive(peer);
    };
    if (lobby_->inbox->has_room(later)) later();
    return grpc::Status::OK;  // nothing is read until accept()
  }

  // Until then nobody knows of the message, and nobody misses it.
  void arrive(int peer) {
    peer_ = peer;
    lobby_->put({peer, sequence_}, std::static_pointer_cast<MessageCall>(shared_from_this()));
    if (is_finished()) return lobby_->forget({peer, sequence_}, this);
    lobby_->inbox->push({.kind = TransportEvent::Kind::kAnnounced,
                         .peer = peer,
                         .sequence = sequence_,
                         .traffic = traffic_,
                         .num_bytes = num_bytes_});
  }

  grpc::Status take_chunk() {
    const std::string& chunk = frame_.chunk();
    if (chunk.empty() || chunk.size() > kChunkBytes || chunk.size() > num_bytes_ - at_) {
      return {Code::INVALID_ARGUMENT,
              fmt::format("send: expected a chunk of 1 to {} bytes, {} of {} received, found one of {}",
                          kChunkBytes, at_, num_bytes_, chunk.size())};
    }
    std::memcpy(data_.data() + at_, chunk.data(), chunk.size());
    at_ += chunk.size();
    if (at_ < num_bytes_) {
      tell(TransportEvent::Kind::kMoved);
      const std::scoped_lock lock(mutex_);
      if (!finished_) StartRead(&frame_);
      return grpc::Status::OK;
    }
    whole_ = true;
    answering_ = true;
    lobby_->answering();
    tell(TransportEvent::Kind::kReceived);
    finish(grpc::Status::OK);
    return grpc::Status::OK;
  }

  void tell(TransportEvent::Kind kind) {
    const bool received = kind == TransportEvent::Kind::kReceived;
    lobby_->inbox->push(
        {.kind = kind, .peer = peer_, .sequence = sequence_, .data = received ? std::move(data_) : Buffer()});
  }

  void on_end() {
    if (peer_ >= 0 && !whole_.exchange(true)) {
      lobby_->inbox->suspect(peer_, fmt::format("its message {} broke off after {} of {} bytes", sequence_,
                                                at_.load(), num_bytes_));
    }
    finish({Code::CANCELLED, "the message broke off"});
  }

  v1::DataFrame frame_;
  Buffer data_;
  std::uint64_t sequence_ = 0;
  std::size_t num_bytes_ = 0;
  Traffic traffic_ = Traffic::kWire;
  // Read by OnCancel, which may run beside OnReadDone.
  std::atomic<int> peer_ = -1;
  std::atomic<std::size_t> at_ = 0;
  bool answering_ = false;
  std::atomic<bool> whole_ = false;  // received, or the reason why not was told
};

class WorkerService final : public v1::Worker::CallbackService {
 public:
  explicit WorkerService(std::shared_ptr<Lobby> lobby) : lobby_(std::move(lobby)) {}

  grpc::ServerBidiReactor<v1::ControlFrame, v1::ControlReply>* Control(
      grpc::CallbackServerContext* context) override {
    return begin(std::make_shared<ControlCall>(lobby_, context));
  }
  grpc::ServerReadReactor<v1::DataFrame>* Send(grpc::CallbackServerContext* context, v1::Receipt*) override {
    return begin(std::make_shared<MessageCall>(lobby_, context));
  }

 private:
  template <class Call>
  static Call* begin(const std::shared_ptr<Call>& call) {
    call->open();
    return call.get();
  }

  const std::shared_ptr<Lobby> lobby_;
};

}  // namespace

struct Inbound::Impl {
  std::shared_ptr<Lobby> lobby;
  WorkerService service;
  GuardedServer server;

  Impl(const Address& listen, const TlsFiles& tls, std::shared_ptr<Inbox> inbox)
      : lobby(std::make_shared<Lobby>(std::move(inbox))),
        service(lobby),
        server({.address = listen, .max_connections = max_connections(kMaxWorkers)}, tls, service) {
    lobby->on_greeted([this](const std::string& peer) { server.listener().greeted(peer); });
  }
  ~Impl() {
    lobby->wait_until_answered(Clock::now() + kFarewellTime);
    lobby->on_greeted({});
    server.stop();
    lobby->wait_until_idle();
  }
};

Inbound::Inbound(const Address& listen, const TlsFiles& tls, std::shared_ptr<Inbox> inbox)
    : impl_(std::make_unique<Impl>(listen, tls, std::move(inbox))) {}

Inbound::~Inbound() = default;

Address Inbound::address() const {
  return impl_->server.address();
}

void Inbound::admit(const std::string& world, int rank, int size) {
  impl_->lobby->admit(world, rank, size);
}

void Inbound::accept(int peer, std::uint64_t sequence) {
  if (const auto call = impl_->lobby->take({peer, sequence})) call->accept();
}

}  // namespace thinwire::comm
