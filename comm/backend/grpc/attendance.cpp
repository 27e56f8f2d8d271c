#include "comm/backend/grpc/attendance.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

#include "comm/backend/grpc/call_count.h"
#include "comm/backend/grpc/endpoint.h"
#include "comm/backend/grpc/limits.h"
#include "comm/clock.h"
#include "comm/errors.h"
#include "thinwire.grpc.pb.h"

namespace thinwire::comm {

namespace {

using Code = grpc::StatusCode;

v1::Join to_proto(const JoinRequest& request) {
  v1::Join join;
  join.set_protocol(request.protocol);
  join.set_token(request.token);
  join.set_name(request.name);
  join.set_address(request.address);
  if (request.rank) join.set_rank(static_cast<std::uint32_t>(*request.rank));
  join.set_config_digest(request.config_digest);
  join.set_start_digest(request.start_digest);
  join.set_config(request.config);
  return join;
}

// Throws CommError kBadMessage for a welcome that cannot be.
Placement placement_from(const v1::Welcome& welcome) {
  Placement placement{.rank = static_cast<int>(welcome.rank()), .world = welcome.world(), .members = {}};
  for (const v1::Member& member : welcome.members()) {
    placement.members.push_back(
        {.rank = static_cast<int>(member.rank()), .name = member.name(), .address = member.address()});
  }
  bool good = placement.members.size() <= static_cast<std::size_t>(kMaxWorkers) &&
              welcome.rank() < placement.members.size() && placement.world.size() == kWorldKeyBytes;
  for (std::size_t i = 0; good && i < placement.members.size(); ++i) {
    good = placement.members[i].rank == static_cast<int>(i);
  }
  if (good) return placement;
  throw CommError(
      CommError::Kind::kBadMessage,
      fmt::format("[grpc] coordinator: expected a world in the order of ranks, found {} members, rank {}, "
                  "a secret of {} bytes; run the same release on all machines",
                  placement.members.size(), welcome.rank(), placement.world.size()));
}

// One attempt, and, if it is answered, the worker's stay. gRPC holds it until OnDone.
class AttendCall final : public grpc::ClientBidiReactor<v1::FromWorker, v1::ToWorker>,
                         public std::enable_shared_from_this<AttendCall> {
 public:
  AttendCall(std::shared_ptr<Inbox> inbox, std::shared_ptr<CallCount> count)
      : inbox_(std::move(inbox)), hold_(std::move(count)) {}

  void open(v1::Coordinator::Stub& stub, const JoinRequest& request) {
    hold_.begin(shared_from_this());
    context_.set_deadline(std::chrono::system_clock::now() + kLongestRun);
    stub.async()->Attend(&context_, this);
    AddHold();  // the last words come from another thread; until the call ends
    StartRead(&incoming_);
    *join_.mutable_join() = to_proto(request);
    StartWrite(&join_);
    StartCall();
  }

  // What has come so far.
  struct News {
    std::optional<double> wait_s;
    std::optional<v1::Welcome> welcome;
    std::optional<grpc::Status> end;
  };
  // Returns at the first news that `enough` takes, or at the deadline.
  template <class Enough>
  News wait(Clock::time_point deadline, Enough enough) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, deadline, [&] { return news_.end || enough(news_); });
    return news_;
  }

  void leave(bool finished, std::string_view reason) {
    const std::scoped_lock lock(mutex_);
    if (ending_ || !joined_) return;
    leave_.mutable_leave()->set_finished(finished);
    leave_.mutable_leave()->set_reason(std::string(reason.substr(0, kMaxReasonBytes)));
    leaving_ = true;
    StartWriteLast(&leave_, grpc::WriteOptions());
    release();
  }

  void cancel() { context_.TryCancel(); }

  void OnWriteDone(bool ok) override {
    const std::scoped_lock lock(mutex_);
    joined_ = ok;
    if (!ok) release();
  }

  void OnReadDone(bool ok) override {
    const std::scoped_lock lock(mutex_);
    if (!ok) return release();
    if (incoming_.has_admitted()) news_.wait_s = incoming_.admitted().wait_s();
    if (incoming_.has_welcome()) news_.welcome = incoming_.welcome();
    if (incoming_.has_lost() && !leaving_) {
      // What it sent, and its own goodbye, may still be on their way.
      inbox_->suspect(static_cast<int>(incoming_.lost().rank()),
                      incoming_.lost().reason().substr(0, kMaxReasonBytes));
    }
    changed_.notify_all();
    StartRead(&incoming_);
  }

  void OnDone(const grpc::Status& status) override {
    {
      const std::scoped_lock lock(mutex_);
      news_.end = status;
      changed_.notify_all();
    }
    hold_.end();
  }

 private:
  // Under the mutex.
  void release() {
    if (!std::exchange(ending_, true)) RemoveHold();
  }

  const std::shared_ptr<Inbox> inbox_;
  CallHold<AttendCall> hold_;
  grpc::ClientContext context_;
  v1::FromWorker join_;
  v1::FromWorker leave_;
  v1::ToWorker incoming_;

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  News news_;
  bool joined_ = false;
  bool ending_ = false;
  bool leaving_ = false;
};

// The words of a refusal are the coordinator's own.
[[noreturn]] void throw_refusal(const grpc::Status& status, const std::string& coordinator) {
  const std::string text = fmt::format("[grpc] coordinator {}: {}", coordinator, status.error_message());
  switch (status.error_code()) {
    case Code::INVALID_ARGUMENT:
    case Code::FAILED_PRECONDITION:
    case Code::UNAUTHENTICATED:
    case Code::ALREADY_EXISTS:
      throw std::invalid_argument(text);
    case Code::DEADLINE_EXCEEDED:
      throw CommError(CommError::Kind::kTimeout, text);
    case Code::RESOURCE_EXHAUSTED:
      throw CommError(CommError::Kind::kClosed, text);
    default:
      throw CommError(
          CommError::Kind::kPeerLost,
          fmt::format("[grpc] coordinator {}: the connection broke before the world was complete, {}; "
                      "look at the coordinator's log",
                      coordinator, to_string(status)));
  }
}

// Trying again would not help.
bool is_about_certificates(const grpc::Status& status) {
  const std::string& text = status.error_message();
  return text.find("SSL") != std::string::npos || text.find("Ssl") != std::string::npos;
}

}  // namespace

struct Attendance::Impl {
  const Options options;
  const TlsFiles tls;
  const std::shared_ptr<Inbox> inbox;
  std::unique_ptr<v1::Coordinator::Stub> stub;
  std::shared_ptr<AttendCall> call;
  const std::shared_ptr<CallCount> count = std::make_shared<CallCount>();

  // Asks until a coordinator answers.
  AttendCall::News ask(const JoinRequest& request) {
    const auto deadline = Clock::now() + duration_of(options.timeout_s);
    for (;;) {
      call = std::make_shared<AttendCall>(inbox, count);
      call->open(*stub, request);
      auto news = call->wait(deadline, [](const auto& so_far) { return so_far.wait_s.has_value(); });
      if (news.wait_s) return news;
      if (news.end && news.end->error_code() != Code::UNAVAILABLE) {
        throw_refusal(*news.end, options.coordinator);
      }
      if (news.end && is_about_certificates(*news.end)) throw_bad_certificates(*news.end);
      if (!news.end || Clock::now() + std::chrono::milliseconds(200) > deadline) throw_silence(news.end);
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  }

  [[noreturn]] void throw_bad_certificates(const grpc::Status& status) const {
    throw CommError(
        CommError::Kind::kPeerLost,
        fmt::format("[grpc] coordinator {}: expected a certificate of our CA that names this host, and "
                    "TLS on both sides, {}; make the certificates of all with one `thinwire certs`",
                    options.coordinator, to_string(status)));
  }

  [[noreturn]] void throw_silence(const std::optional<grpc::Status>& last) const {
    throw CommError(
        CommError::Kind::kTimeout,
        fmt::format("[grpc] coordinator {}: expected an answer within {:.1f} s, {}; is `thinwire "
                    "coordinator` running there, and have both sides certificates (--tls) or neither?",
                    options.coordinator, options.timeout_s,
                    last ? "the last attempt ended with " + to_string(*last) : "none came"));
  }
};

Attendance::Attendance(const Options& options, const TlsFiles& tls, std::shared_ptr<Inbox> inbox)
    : impl_(new Impl{.options = options, .tls = tls, .inbox = std::move(inbox), .stub = {}, .call = {}}) {
  const auto third = std::chrono::milliseconds(
      std::clamp<std::int64_t>(static_cast<std::int64_t>(1000 * options.timeout_s / 3), 1000, 20'000));
  impl_->stub =
      v1::Coordinator::NewStub(make_channel({.address = options.coordinator, .keepalive = third}, tls));
}

Attendance::~Attendance() {
  if (!impl_->call) return;
  impl_->call->cancel();
  impl_->count->wait();
}

Placement Attendance::join(const JoinRequest& request) {
  const double wait_s = impl_->ask(request).wait_s.value_or(0);
  const double bounded_s = std::clamp(wait_s, 0.0, 7 * 86400.0) + impl_->options.timeout_s;
  const auto news = impl_->call->wait(Clock::now() + duration_of(bounded_s),
                                      [](const auto& so_far) { return so_far.welcome.has_value(); });
  if (news.welcome) return placement_from(*news.welcome);
  if (news.end) throw_refusal(*news.end, impl_->options.coordinator);
  impl_->throw_silence(std::nullopt);
}

void Attendance::leave(bool finished, std::string_view reason) noexcept {
  if (!impl_->call) return;
  impl_->call->leave(finished, reason);
  impl_->call->wait(Clock::now() + kFarewellTime, [](const auto&) { return false; });
}

}  // namespace thinwire::comm
