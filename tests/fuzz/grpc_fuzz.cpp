// The servers of the grpc backend and a client that sends any bytes as protobuf messages, in any number and
// order: a worker's calls Control and Send, a coordinator's Attend. Whatever comes, the call ends and nothing
// of it reaches the transport but what a peer may say.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <array>
#include <future>

#include "comm/backend/grpc/coordinator.h"
#include "comm/backend/grpc/endpoint.h"
#include "comm/backend/grpc/inbound.h"
#include "tests/fuzz/input.h"
#include "thinwire.grpc.pb.h"

namespace thinwire::fuzz {
namespace {

using comm::Inbox;
using comm::TransportEvent;

enum class Method : std::uint8_t { kControl, kSend, kAttend };
constexpr std::array<const char*, 3> kPaths = {"/thinwire.v1.Worker/Control", "/thinwire.v1.Worker/Send",
                                               "/thinwire.v1.Coordinator/Attend"};
constexpr int kWorkers = 3;
constexpr std::size_t kMaxMessages = 8;
constexpr std::size_t kMostAccepted = std::size_t{1} << 20;  // no mean of this world is larger
constexpr std::chrono::milliseconds kTick{1};

std::string world_secret() {
  return std::string(comm::kWorldKeyBytes, 'w');
}

// Sends its messages, then nothing more, and hears the answers out.
class HostileCall final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  HostileCall(const std::string& address, Method method, std::vector<std::string> messages)
      : stub_(comm::make_channel({.address = address}, {})) {
    for (const std::string& message : messages) {
      const grpc::Slice slice(message);
      messages_.emplace_back(&slice, 1);
    }
    context_.set_wait_for_ready(true);
    context_.set_deadline(std::chrono::system_clock::now() + comm::kGreetingTime);
    stub_.PrepareBidiStreamingCall(&context_, kPaths[static_cast<std::size_t>(method)], {}, this);
    StartRead(&answer_);
    write_next();
    StartCall();
  }

  bool ends_within(std::chrono::milliseconds time) {
    return end_.wait_for(time) == std::future_status::ready;
  }
  grpc::Status status() { return end_.get(); }
  void cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (ok) StartRead(&answer_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) write_next();
  }
  void OnDone(const grpc::Status& status) override { ended_.set_value(status); }

 private:
  void write_next() {
    if (next_ == messages_.size()) return StartWritesDone();
    StartWrite(&messages_[next_++]);
  }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  std::vector<grpc::ByteBuffer> messages_;
  std::size_t next_ = 0;
  grpc::ByteBuffer answer_;
  std::promise<grpc::Status> ended_;
  std::future<grpc::Status> end_ = ended_.get_future();
};

void require_answered(HostileCall& call) {
  const grpc::StatusCode code = call.status().error_code();
  require(code != grpc::StatusCode::UNAVAILABLE, "the server lives");
  require(code != grpc::StatusCode::DEADLINE_EXCEEDED, "a call that has said all ends");
}

// The transport's part: takes in what is announced, if it is of a size that could be wanted.
void attack_worker(Method method, std::vector<std::string> messages) {
  const auto inbox = std::make_shared<Inbox>();
  comm::Inbound inbound({"127.0.0.1", 0}, {}, inbox);
  inbound.admit(world_secret(), 0, kWorkers);
  HostileCall call(to_string(inbound.address()), method, std::move(messages));
  std::size_t announced = 0;
  while (!call.ends_within(kTick)) {
    for (const Inbox::Entry& entry : inbox->take()) {
      const TransportEvent& event = entry.event;
      require(event.peer > 0 && event.peer < kWorkers, "an event is of a peer");
      if (event.kind == TransportEvent::Kind::kReceived)
        require(event.data.size() == announced, "a message has the size that was announced");
      if (event.kind != TransportEvent::Kind::kAnnounced || event.data.size() == event.num_bytes) continue;
      announced = event.num_bytes;
      announced <= kMostAccepted ? inbound.accept(event.peer, event.sequence) : call.cancel();
    }
  }
  require_answered(call);
}

void attack_coordinator(std::vector<std::string> messages) {
  comm::Coordinator coordinator({.workers = 2});
  HostileCall call(coordinator.address(), Method::kAttend, std::move(messages));
  while (!call.ends_within(kTick)) {
  }
  require_answered(call);
}

Seed seed_of(Method method) {
  return Seed().put(method);
}

template <class Message>
void put_message(Seed& seed, const Message& message) {
  const std::string bytes = message.SerializeAsString();
  seed.put(static_cast<std::uint16_t>(bytes.size())).put_bytes(std::as_bytes(std::span(bytes)));
}

v1::Greeting greeting() {
  v1::Greeting greeting;
  greeting.set_protocol(comm::kProtocol);
  greeting.set_world(world_secret());
  greeting.set_rank(1);
  return greeting;
}

std::string control_seed() {
  Seed seed = seed_of(Method::kControl);
  v1::ControlFrame frame;
  *frame.mutable_greeting() = greeting();
  put_message(seed, frame);
  frame.mutable_message()->set_sequence(7);
  frame.mutable_message()->set_data("abc");
  put_message(seed, frame);
  frame.mutable_goodbye()->set_reason("done");
  put_message(seed, frame);
  return seed.text();
}

std::string send_seed() {
  Seed seed = seed_of(Method::kSend);
  v1::DataFrame frame;
  *frame.mutable_announcement()->mutable_greeting() = greeting();
  frame.mutable_announcement()->set_sequence(7);
  frame.mutable_announcement()->set_num_bytes(comm::kInlineBytes + 64);
  put_message(seed, frame);
  frame.set_chunk(std::string(comm::kInlineBytes, 'x'));
  put_message(seed, frame);
  frame.set_chunk(std::string(64, 'y'));
  put_message(seed, frame);
  return seed.text();
}

std::string attend_seed() {
  Seed seed = seed_of(Method::kAttend);
  v1::FromWorker words;
  v1::Join& join = *words.mutable_join();
  join.set_protocol(comm::kProtocol);
  join.set_name("w");
  join.set_address("127.0.0.1:9");
  join.set_config_digest("c");
  join.set_start_digest("s");
  put_message(seed, words);
  words.mutable_leave()->set_finished(true);
  put_message(seed, words);
  return seed.text();
}

}  // namespace

std::vector<std::string> seeds() {
  return {control_seed(), send_seed(), attend_seed()};
}

}  // namespace thinwire::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinwire::fuzz;
  Input input(data, size);
  const auto method = static_cast<Method>(input.take<std::uint8_t>() % kPaths.size());
  std::vector<std::string> messages;
  while (!input.rest().empty() && messages.size() < kMaxMessages) {
    const auto bytes = input.take_span(input.take<std::uint16_t>());
    messages.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  method == Method::kAttend ? attack_coordinator(std::move(messages))
                            : attack_worker(method, std::move(messages));
  return 0;
}
