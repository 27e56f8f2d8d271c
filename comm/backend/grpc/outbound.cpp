#include "comm/backend/grpc/outbound.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "comm/backend/grpc/call_count.h"
#include "comm/backend/grpc/endpoint.h"
#include "comm/backend/grpc/limits.h"
#include "thinwire.grpc.pb.h"

namespace thinwire::comm {

namespace {

v1::Traffic to_proto(Traffic traffic) {
  return traffic == Traffic::kControl ? v1::CONTROL : v1::WIRE;
}

// The long call: frames in order, one write at a time. gRPC holds it until OnDone.
class ControlCall final : public grpc::ClientBidiReactor<v1::ControlFrame, v1::ControlReply>,
                          public std::enable_shared_from_this<ControlCall> {
 public:
  ControlCall(int peer, std::shared_ptr<Inbox> inbox, std::shared_ptr<CallCount> count)
      : peer_(peer), inbox_(std::move(inbox)), hold_(std::move(count)) {}

  void open(v1::Worker::Stub& stub, const v1::Greeting& greeting) {
    hold_.begin(shared_from_this());
    context_.set_wait_for_ready(true);
    context_.set_deadline(std::chrono::system_clock::now() + kLongestRun);
    stub.async()->Control(&context_, this);
    AddHold();  // frames come from another thread; until the call ends
    StartRead(&reply_);
    v1::ControlFrame frame;
    *frame.mutable_greeting() = greeting;
    put(std::move(frame));
    StartCall();
  }

  void put(v1::ControlFrame frame) {
    const std::scoped_lock lock(mutex_);
    if (ending_) return;
    frames_.push_back(std::move(frame));
    if (frames_.size() == 1) StartWrite(&frames_.front());
  }

  void say_goodbye(std::string_view reason) {
    v1::ControlFrame frame;
    frame.mutable_goodbye()->set_reason(std::string(reason.substr(0, kMaxReasonBytes)));
    put(std::move(frame));
  }

  void cancel() { context_.TryCancel(); }
  bool answered() const { return answered_; }
  bool settled() {
    const std::scoped_lock lock(mutex_);
    return ending_ || frames_.empty();
  }

  void OnWriteDone(bool ok) override {
    const std::scoped_lock lock(mutex_);
    if (!ok) return release();
    if (frames_.front().has_message()) {
      inbox_->push({.kind = TransportEvent::Kind::kSent,
                    .peer = peer_,
                    .sequence = frames_.front().message().sequence()});
    }
    const bool last = frames_.front().has_goodbye();
    frames_.pop_front();
    if (last) {
      said_goodbye_ = true;
      StartWritesDone();
      release();
    } else if (!frames_.empty()) {
      StartWrite(&frames_.front());
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      const std::scoped_lock lock(mutex_);
      return release();
    }
    answered_ = true;
    StartRead(&reply_);  // nothing more is expected but the end
  }

  void OnDone(const grpc::Status& status) override {
    {
      const std::scoped_lock lock(mutex_);
      if (!said_goodbye_) inbox_->suspect(peer_, "the connection to it broke, " + to_string(status));
    }
    hold_.end();
  }

 private:
  // No frames from now on. Under the mutex.
  void release() {
    if (!std::exchange(ending_, true)) RemoveHold();
  }

  const int peer_;
  const std::shared_ptr<Inbox> inbox_;
  CallHold<ControlCall> hold_;
  grpc::ClientContext context_;
  v1::ControlReply reply_;
  std::atomic<bool> answered_ = false;

  std::mutex mutex_;
  // Guarded by mutex_.
  std::deque<v1::ControlFrame> frames_;  // the first is being written
  bool ending_ = false;
  bool said_goodbye_ = false;
};

// One larger message. gRPC holds it until OnDone.
class MessageCall final : public grpc::ClientWriteReactor<v1::DataFrame>,
                          public std::enable_shared_from_this<MessageCall> {
 public:
  MessageCall(const OutgoingMessage& message, std::shared_ptr<Inbox> inbox, std::shared_ptr<CallCount> count)
      : message_(message), inbox_(std::move(inbox)), hold_(std::move(count)) {}

  void open(v1::Worker::Stub& stub, const v1::Greeting& greeting, double timeout_s) {
    hold_.begin(shared_from_this());
    const double seconds =
        2 * timeout_s + static_cast<double>(message_.bytes.size()) / kSlowestBytesPerSecond;
    context_.set_wait_for_ready(true);
    context_.set_deadline(std::chrono::system_clock::now() +
                          std::chrono::milliseconds(static_cast<std::int64_t>(1000 * seconds)));
    stub.async()->Send(&context_, &receipt_, this);
    v1::Announcement& announcement = *frame_.mutable_announcement();
    *announcement.mutable_greeting() = greeting;
    announcement.set_sequence(message_.sequence);
    announcement.set_traffic(to_proto(message_.traffic));
    announcement.set_num_bytes(message_.bytes.size());
    StartWrite(&frame_);
    StartCall();
  }

  // The message's bytes are not read after this.
  void give_up() {
    const std::scoped_lock lock(mutex_);
    given_up_ = true;
    context_.TryCancel();
  }

  bool ended() const { return ended_; }

  void OnWriteDone(bool ok) override {
    const std::scoped_lock lock(mutex_);
    if (!ok || given_up_) return;
    if (at_ > 0) {
      inbox_->push(
          {.kind = TransportEvent::Kind::kMoved, .peer = message_.peer, .sequence = message_.sequence});
    }
    if (at_ < message_.bytes.size()) write_next();
  }

  void OnDone(const grpc::Status& status) override {
    {
      const std::scoped_lock lock(mutex_);
      if (status.ok()) {
        inbox_->push(
            {.kind = TransportEvent::Kind::kSent, .peer = message_.peer, .sequence = message_.sequence});
      } else if (!given_up_) {
        inbox_->suspect(message_.peer,
                        fmt::format("message {} did not reach it, {}", message_.sequence, to_string(status)));
      }
      ended_ = true;
    }
    hold_.end();
  }

 private:
  // Under the mutex.
  void write_next() {
    const auto chunk = message_.bytes.subspan(at_, std::min(kChunkBytes, message_.bytes.size() - at_));
    frame_.set_chunk(chunk.data(), chunk.size());
    at_ += chunk.size();
    if (at_ == message_.bytes.size()) {
      StartWriteLast(&frame_, grpc::WriteOptions());
    } else {
      StartWrite(&frame_);
    }
  }

  const OutgoingMessage message_;
  const std::shared_ptr<Inbox> inbox_;
  CallHold<MessageCall> hold_;
  grpc::ClientContext context_;
  v1::Receipt receipt_;
  std::atomic<bool> ended_ = false;

  std::mutex mutex_;
  // Guarded by mutex_.
  v1::DataFrame frame_;
  std::size_t at_ = 0;  // bytes handed to gRPC
  bool given_up_ = false;
};

}  // namespace

struct Outbound::Impl {
  const Options options;
  const std::shared_ptr<Inbox> inbox;
  const std::shared_ptr<CallCount> count = std::make_shared<CallCount>();
  v1::Greeting greeting;
  std::unique_ptr<v1::Worker::Stub> control_stub;
  std::unique_ptr<v1::Worker::Stub> data_stub;
  std::shared_ptr<ControlCall> control;
  std::vector<std::shared_ptr<MessageCall>> messages;

  Impl(const Options& given, const TlsFiles& tls, std::shared_ptr<Inbox> waiting)
      : options(given), inbox(std::move(waiting)) {
    greeting.set_protocol(kProtocol);
    greeting.set_world(options.world);
    greeting.set_rank(static_cast<std::uint32_t>(options.own_rank));
    const auto third = std::chrono::milliseconds(
        std::clamp<std::int64_t>(static_cast<std::int64_t>(1000 * options.timeout_s / 3), 1000, 20'000));
    control_stub =
        v1::Worker::NewStub(make_channel({.address = options.peer.address, .keepalive = third}, tls));
    data_stub = v1::Worker::NewStub(make_channel({.address = options.peer.address}, tls));
    control = std::make_shared<ControlCall>(options.peer.rank, inbox, count);
    control->open(*control_stub, greeting);
  }

  void send(const OutgoingMessage& message) {
    if (message.bytes.size() <= kInlineBytes) {
      v1::ControlFrame frame;
      v1::WholeMessage& whole = *frame.mutable_message();
      whole.set_sequence(message.sequence);
      whole.set_traffic(to_proto(message.traffic));
      whole.set_data(message.bytes.data(), message.bytes.size());
      return control->put(std::move(frame));
    }
    std::erase_if(messages, [](const auto& call) { return call->ended(); });
    messages.push_back(std::make_shared<MessageCall>(message, inbox, count));
    auto& stub = message.traffic == Traffic::kControl ? *control_stub : *data_stub;
    messages.back()->open(stub, greeting, options.timeout_s);
  }

  void give_up_messages() {
    for (const auto& call : messages) call->give_up();
    messages.clear();
  }
};

Outbound::Outbound(const Options& options, const TlsFiles& tls, std::shared_ptr<Inbox> inbox)
    : impl_(std::make_unique<Impl>(options, tls, std::move(inbox))) {}

Outbound::~Outbound() {
  impl_->give_up_messages();
  impl_->control->cancel();
  impl_->count->wait();
}

void Outbound::send(const OutgoingMessage& message) {
  impl_->send(message);
}

void Outbound::leave(std::string_view reason) {
  impl_->control->say_goodbye(reason);
  impl_->give_up_messages();
}

void Outbound::wait_until_heard(Clock::time_point deadline) {
  impl_->count->wait_until(deadline);
}

bool Outbound::connected() const {
  return impl_->control->answered();
}

bool Outbound::settled() const {
  return impl_->control->settled() &&
         std::ranges::all_of(impl_->messages, [](const auto& call) { return call->ended(); });
}

}  // namespace thinwire::comm
