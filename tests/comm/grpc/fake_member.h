// A member of a world that speaks the protocol itself, and as badly as a test wants.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "comm/backend/grpc/endpoint.h"
#include "comm/backend/grpc/limits.h"
#include "thinwire.grpc.pb.h"

namespace thinwire::comm {

class FakeMember {
 public:
  explicit FakeMember(const std::string& coordinator)
      : stub_(v1::Coordinator::NewStub(make_channel({.address = coordinator}, {}))) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    stream_ = stub_->Attend(&context_);
  }

  static v1::Join join_message(const std::string& name, const std::string& address) {
    v1::Join join;
    join.set_protocol(kProtocol);
    join.set_name(name);
    join.set_address(address);
    join.set_config_digest("none");
    join.set_start_digest("none");
    return join;
  }

  void say(const v1::FromWorker& words) { stream_->Write(words); }
  void join(const v1::Join& join) {
    v1::FromWorker words;
    *words.mutable_join() = join;
    say(words);
  }
  // The next words of the coordinator; none when the call has ended.
  std::optional<v1::ToWorker> hear() {
    v1::ToWorker words;
    if (!stream_->Read(&words)) return std::nullopt;
    return words;
  }
  // Blocks until the world is complete.
  v1::Welcome welcome() {
    while (const auto words = hear()) {
      if (words->has_welcome()) return words->welcome();
    }
    throw std::runtime_error("no welcome: " + to_string(end()));
  }
  grpc::Status end() {
    while (hear()) {
    }
    return stream_->Finish();
  }
  void die() { context_.TryCancel(); }

 private:
  std::unique_ptr<v1::Coordinator::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::FromWorker, v1::ToWorker>> stream_;
};

// Answers the peers of a fake member, and takes nothing in.
class FakeWorker {
 public:
  FakeWorker() : server_({.address = {"127.0.0.1", 0}}, {}, service_) {}
  std::string address() const { return to_string(server_.address()); }

 private:
  class Service final : public v1::Worker::Service {
    grpc::Status Control(grpc::ServerContext*,
                         grpc::ServerReaderWriter<v1::ControlReply, v1::ControlFrame>* stream) override {
      v1::ControlFrame frame;
      if (stream->Read(&frame)) stream->Write(v1::ControlReply());
      while (stream->Read(&frame)) {
      }
      return grpc::Status::OK;
    }
  };
  Service service_;
  GuardedServer server_;
};

// Calls of a member at another worker.
class FakePeer {
 public:
  FakePeer(const std::string& address, v1::Greeting greeting)
      : stub_(v1::Worker::NewStub(make_channel({.address = address}, {}))), greeting_(std::move(greeting)) {
    for (grpc::ClientContext* context : {&control_context_, &send_context_}) {
      context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    }
  }

  v1::Greeting& greeting() { return greeting_; }
  grpc::ClientContext& control_context() { return control_context_; }

  // A control call that begins with the greeting and these frames; the status that it ends with.
  grpc::Status control(const std::vector<v1::ControlFrame>& frames) {
    const auto stream = open_control(frames);
    v1::ControlReply reply;
    while (stream->Read(&reply)) {
    }
    return stream->Finish();
  }
  using ControlStream = std::unique_ptr<grpc::ClientReaderWriter<v1::ControlFrame, v1::ControlReply>>;
  ControlStream open_control(const std::vector<v1::ControlFrame>& frames) {
    auto stream = stub_->Control(&control_context_);
    v1::ControlFrame hello;
    *hello.mutable_greeting() = greeting_;
    stream->Write(hello);
    for (const v1::ControlFrame& frame : frames) stream->Write(frame);
    return stream;
  }

  // A data call of an announcement and chunks of these sizes.
  grpc::Status send(std::uint64_t sequence, std::uint64_t num_bytes, const std::vector<std::size_t>& chunks) {
    v1::Receipt receipt;
    const auto stream = stub_->Send(&send_context_, &receipt);
    v1::DataFrame frame;
    *frame.mutable_announcement()->mutable_greeting() = greeting_;
    frame.mutable_announcement()->set_sequence(sequence);
    frame.mutable_announcement()->set_num_bytes(num_bytes);
    stream->Write(frame);
    for (const std::size_t size : chunks) {
      frame.set_chunk(std::string(size, 'x'));
      if (!stream->Write(frame)) break;
    }
    stream->WritesDone();
    return stream->Finish();
  }

 private:
  std::unique_ptr<v1::Worker::Stub> stub_;
  v1::Greeting greeting_;
  grpc::ClientContext control_context_;
  grpc::ClientContext send_context_;
};

}  // namespace thinwire::comm
