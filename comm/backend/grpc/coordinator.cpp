#include "comm/backend/grpc/coordinator.h"

#include <fmt/format.h>
#include <grpcpp/alarm.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <random>
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

// From the system's source of random numbers.
std::string random_key() {
  std::random_device device;
  std::string key;
  while (key.size() < kWorldKeyBytes) {
    const auto word = device();
    for (unsigned shift = 0; shift < 32; shift += 8) key.push_back(static_cast<char>(word >> shift));
  }
  key.resize(kWorldKeyBytes);
  return key;
}

Code code_of(Refusal::Kind kind) {
  switch (kind) {
    case Refusal::Kind::kMalformed:
      return Code::INVALID_ARGUMENT;
    case Refusal::Kind::kToken:
      return Code::UNAUTHENTICATED;
    case Refusal::Kind::kDiffers:
      return Code::FAILED_PRECONDITION;
    case Refusal::Kind::kTaken:
      return Code::ALREADY_EXISTS;
    case Refusal::Kind::kFull:
      return Code::RESOURCE_EXHAUSTED;
  }
  return Code::INTERNAL;
}

JoinRequest from_proto(const v1::Join& join) {
  JoinRequest request{.protocol = join.protocol(),
                      .token = join.token(),
                      .name = join.name(),
                      .address = join.address(),
                      .rank = std::nullopt,
                      .config_digest = join.config_digest(),
                      .start_digest = join.start_digest(),
                      .config = join.config()};
  // Past int, a rank is out of the world's range in any case.
  if (join.has_rank()) request.rank = static_cast<int>(std::min<std::uint32_t>(join.rank(), kMaxWorkers));
  return request;
}

class AttendCall;

// The decisions and their state; the calls hold it.
class Desk {
 public:
  explicit Desk(const CoordinatorOptions& options)
      : options_(options), roster_(options.workers, options.token), world_(random_key()) {}

  void on_greeted(std::function<void(const std::string&)> tell) {
    const std::scoped_lock lock(mutex_);
    tell_greeted_ = std::move(tell);
  }

  // OK, or why not. An admitted call hears more by AttendCall::put.
  grpc::Status join(const std::shared_ptr<AttendCall>& call, const v1::Join& join,
                    const std::string& connection, Roster::Id& id);
  void leave(Roster::Id id, const v1::Leave& leave);
  void lose(Roster::Id id);

  Coordinator::Outcome wait();
  void stop() {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }
  // Ends the calls that wait for others.
  void dismiss(const Coordinator::Outcome& outcome);

  void began() {
    const std::scoped_lock lock(mutex_);
    ++num_calls_;
  }
  void ended() {
    const std::scoped_lock lock(mutex_);
    --num_calls_;
    changed_.notify_all();
  }
  void wait_until_idle() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return num_calls_ == 0; });
  }

 private:
  void say(const std::string& text) const {
    if (options_.on_message) options_.on_message(text);
  }
  void welcome_all();
  void depart(Roster::Id id, bool finished, const std::string& reason);
  std::string name_of(Roster::Id id) const;

  const CoordinatorOptions options_;
  const Clock::time_point born_ = Clock::now();

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::function<void(const std::string&)> tell_greeted_;
  Roster roster_;
  const std::string world_;
  std::map<Roster::Id, std::shared_ptr<AttendCall>> calls_;
  std::map<Roster::Id, std::string> names_;
  std::optional<std::string> first_loss_;
  std::optional<Clock::time_point> broken_since_;
  bool stopped_ = false;
  int num_calls_ = 0;
};

// A worker's stay. gRPC holds it until OnDone.
class AttendCall final : public grpc::ServerBidiReactor<v1::FromWorker, v1::ToWorker>,
                         public std::enable_shared_from_this<AttendCall> {
 public:
  AttendCall(std::shared_ptr<Desk> desk, grpc::CallbackServerContext* context)
      : desk_(std::move(desk)), context_(context) {
    desk_->began();
  }

  void open() {
    self_ = shared_from_this();
    // An alarm may fire after the call is gone.
    alarm_.Set(std::chrono::system_clock::now() + kGreetingTime, [weak = weak_from_this()](bool fired) {
      const auto call = weak.lock();
      if (fired && call) call->on_join_late();
    });
    StartRead(&incoming_);
  }

  // Words to the worker, in order.
  void put(v1::ToWorker words) {
    const std::scoped_lock lock(mutex_);
    if (finished_) return;
    outgoing_.push_back(std::move(words));
    if (outgoing_.size() == 1) StartWrite(&outgoing_.front());
  }

  // After what was put before.
  void end(const grpc::Status& status) {
    const std::scoped_lock lock(mutex_);
    if (std::exchange(finished_, true)) return;
    last_status_ = status;
    if (outgoing_.empty()) Finish(last_status_);
  }

  void OnWriteDone(bool ok) override {
    const std::scoped_lock lock(mutex_);
    outgoing_.pop_front();
    if (!ok) outgoing_.clear();
    if (!outgoing_.empty()) {
      StartWrite(&outgoing_.front());
    } else if (finished_) {
      Finish(last_status_);
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) return end(grpc::Status::OK);
    if (id_ == 0 && incoming_.has_join()) {
      Roster::Id id = 0;
      const grpc::Status status = desk_->join(shared_from_this(), incoming_.join(), context_->peer(), id);
      id_ = id;
      if (!status.ok()) return end(status);
    } else if (id_ != 0 && incoming_.has_leave()) {
      desk_->leave(id_, incoming_.leave());
    } else {
      return end({Code::INVALID_ARGUMENT, "attend: expected one join first, then at most one leave"});
    }
    const std::scoped_lock lock(mutex_);
    if (!finished_) StartRead(&incoming_);
  }

  void OnCancel() override { end({Code::CANCELLED, "cancelled"}); }

  void OnDone() override {
    alarm_.Cancel();
    if (id_ != 0) desk_->lose(id_);
    desk_->ended();
    self_.reset();  // perhaps the last
  }

 private:
  void on_join_late() {
    if (id_ == 0) {
      end({Code::DEADLINE_EXCEEDED,
           fmt::format("attend: expected a join within {} s", kGreetingTime.count())});
    }
  }

  const std::shared_ptr<Desk> desk_;
  grpc::CallbackServerContext* const context_;  // gRPC's, until OnDone
  std::shared_ptr<AttendCall> self_;
  grpc::Alarm alarm_;
  v1::FromWorker incoming_;
  std::atomic<Roster::Id> id_ = 0;  // 0: has not joined

  std::mutex mutex_;
  // Guarded by mutex_.
  std::deque<v1::ToWorker> outgoing_;  // the first is being written
  bool finished_ = false;              // nothing is put any more
  grpc::Status last_status_;
};

grpc::Status Desk::join(const std::shared_ptr<AttendCall>& call, const v1::Join& join,
                        const std::string& connection, Roster::Id& id) {
  const std::scoped_lock lock(mutex_);
  try {
    id = roster_.join(from_proto(join));
  } catch (const Refusal& refusal) {
    say(fmt::format("refused {}: {}", connection, refusal.what()));
    return {code_of(refusal.kind()), refusal.what()};
  }
  if (tell_greeted_) tell_greeted_(connection);
  names_[id] = join.name();
  calls_[id] = call;
  say(fmt::format("{} at {} joined; {}", join.name(), join.address(), roster_.attendance()));
  v1::ToWorker words;
  const auto left = duration_of(options_.join_timeout_s) - (Clock::now() - born_);
  words.mutable_admitted()->set_wait_s(std::max(0.0, seconds_of(left)));
  call->put(std::move(words));
  if (roster_.complete()) welcome_all();
  return grpc::Status::OK;
}

// Under the mutex.
void Desk::welcome_all() {
  v1::ToWorker words;
  v1::Welcome& welcome = *words.mutable_welcome();
  welcome.set_world(world_);
  for (const Member& member : roster_.members()) {
    v1::Member& entry = *welcome.add_members();
    entry.set_rank(static_cast<std::uint32_t>(member.rank));
    entry.set_name(member.name);
    entry.set_address(member.address);
  }
  for (const auto& [id, call] : calls_) {
    welcome.set_rank(static_cast<std::uint32_t>(roster_.rank_of(id)));
    call->put(words);
  }
  say(fmt::format("the world of {} is complete", options_.workers));
  changed_.notify_all();
}

std::string Desk::name_of(Roster::Id id) const {
  const std::string& name = names_.at(id);
  return roster_.complete() ? fmt::format("worker {} ({})", roster_.rank_of(id), name) : name;
}

void Desk::leave(Roster::Id id, const v1::Leave& leave) {
  const std::scoped_lock lock(mutex_);
  depart(id, leave.finished(), leave.reason().substr(0, kMaxReasonBytes));
}

void Desk::lose(Roster::Id id) {
  const std::scoped_lock lock(mutex_);
  depart(id, false, "its connection to the coordinator broke: it died, or cannot be reached");
}

// Under the mutex. Once for each worker; what comes later about it is no news.
void Desk::depart(Roster::Id id, bool finished, const std::string& reason) {
  if (calls_.erase(id) == 0) return;
  roster_.leave(id, finished);
  changed_.notify_all();
  if (finished) return say(name_of(id) + " has finished");
  say(fmt::format("{} left: {}", name_of(id), reason));
  if (!roster_.complete()) return;
  if (!first_loss_) first_loss_ = fmt::format("{}: {}", name_of(id), reason);
  if (!broken_since_) broken_since_ = Clock::now();
  v1::ToWorker words;
  words.mutable_lost()->set_rank(static_cast<std::uint32_t>(roster_.rank_of(id)));
  words.mutable_lost()->set_reason(reason);
  for (const auto& [other, call] : calls_) call->put(words);
}

Coordinator::Outcome Desk::wait() {
  using End = Coordinator::End;
  const auto join_deadline = born_ + duration_of(options_.join_timeout_s);
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto now = Clock::now();
    if (stopped_) return {End::kStopped, "stopped"};
    if (roster_.deserted()) {
      if (roster_.finished()) return {End::kFinished, "every worker has finished"};
      return {End::kBroken, first_loss_.value_or("")};
    }
    if (!roster_.complete() && now >= join_deadline) {
      return {End::kIncomplete, fmt::format("expected {} workers within {:.1f} s, {}", options_.workers,
                                            options_.join_timeout_s, roster_.attendance())};
    }
    if (broken_since_ && now >= *broken_since_ + duration_of(options_.silence_s))
      return {End::kBroken, *first_loss_};
    auto next = roster_.complete() ? now + std::chrono::hours(1) : join_deadline;
    if (broken_since_) next = *broken_since_ + duration_of(options_.silence_s);
    changed_.wait_until(lock, next);
  }
}

void Desk::dismiss(const Coordinator::Outcome& outcome) {
  const bool late = outcome.end == Coordinator::End::kIncomplete;
  const std::scoped_lock lock(mutex_);
  for (const auto& [id, call] : calls_) {
    call->end({late ? Code::DEADLINE_EXCEEDED : Code::UNAVAILABLE, outcome.text});
  }
}

class CoordinatorService final : public v1::Coordinator::CallbackService {
 public:
  explicit CoordinatorService(std::shared_ptr<Desk> desk) : desk_(std::move(desk)) {}

  grpc::ServerBidiReactor<v1::FromWorker, v1::ToWorker>* Attend(
      grpc::CallbackServerContext* context) override {
    const auto call = std::make_shared<AttendCall>(desk_, context);
    call->open();
    return call.get();
  }

 private:
  const std::shared_ptr<Desk> desk_;
};

CoordinatorOptions checked(CoordinatorOptions options) {
  require_tls_or_loopback(parse_address(options.listen, "--listen"), options.tls_dir, "--listen");
  for (const double time : {options.join_timeout_s, options.silence_s}) {
    if (time > 0 && time <= 1e7) continue;
    throw std::invalid_argument(
        fmt::format("timeouts of the coordinator: expected above 0 and at most 1e7 seconds, found {}", time));
  }
  return options;
}

}  // namespace

struct Coordinator::Impl {
  const CoordinatorOptions options;
  const std::shared_ptr<Desk> desk;
  CoordinatorService service;
  GuardedServer server;

  explicit Impl(const CoordinatorOptions& given)
      : options(checked(given)),
        desk(std::make_shared<Desk>(options)),
        service(desk),
        server({.address = parse_address(options.listen, "--listen"),
                .max_connections = max_connections(options.workers),
                .keepalive = std::chrono::milliseconds(
                    static_cast<std::int64_t>(std::clamp(options.silence_s / 3, 0.5, 20.0) * 1000))},
               read_tls_files(options.tls_dir), service) {
    desk->on_greeted([this](const std::string& peer) { server.listener().greeted(peer); });
  }
  ~Impl() {
    desk->dismiss({End::kStopped, "the coordinator was stopped"});
    desk->on_greeted({});
    server.stop();
    desk->wait_until_idle();
  }
};

Coordinator::Coordinator(const CoordinatorOptions& options) : impl_(std::make_unique<Impl>(options)) {}

Coordinator::~Coordinator() = default;

std::string Coordinator::address() const {
  return to_string(impl_->server.address());
}

Coordinator::Outcome Coordinator::wait() {
  Outcome outcome = impl_->desk->wait();
  impl_->desk->dismiss(outcome);
  return outcome;
}

void Coordinator::stop() {
  impl_->desk->stop();
}

}  // namespace thinwire::comm
