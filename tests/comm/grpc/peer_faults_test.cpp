// A member of the world that is authenticated and broken: what it sends is an error that names it, or
// nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "comm/control.h"
#include "tests/comm/grpc/fake_member.h"
#include "tests/comm/grpc/grpc_world.h"

namespace thinwire::comm {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using Code = grpc::StatusCode;

v1::ControlFrame whole(std::uint64_t sequence, std::size_t size) {
  v1::ControlFrame frame;
  frame.mutable_message()->set_sequence(sequence);
  frame.mutable_message()->set_data(std::string(size, 'x'));
  return frame;
}

v1::ControlFrame goodbye(const std::string& reason) {
  v1::ControlFrame frame;
  frame.mutable_goodbye()->set_reason(reason);
  return frame;
}

// A world of a true worker, rank 0, and a fake one, which holds the calls in its hands.
class BrokenPeer : public testing::Test {
 protected:
  BrokenPeer() : coordinator_({.workers = 2, .join_timeout_s = 60}), fake_(coordinator_.address()) {
    v1::Join join = FakeMember::join_message("fake", worker_.address());
    join.set_rank(1);
    fake_.join(join);
    communicator_ = connect(grpc_options(coordinator_.address(), 60));
    welcome_ = fake_.welcome();
  }

  FakePeer peer() const {
    v1::Greeting greeting;
    greeting.set_protocol(kProtocol);
    greeting.set_world(welcome_.world());
    greeting.set_rank(1);
    return FakePeer(welcome_.members(0).address(), greeting);
  }

  // What rank 0 throws while it waits for a message of up to max_bytes.
  CommError error_of_exchange(std::size_t max_bytes = 1 << 20) {
    return expect_comm_error([&] {
      ExchangeRequest request{.sequence = 1, .max_bytes = max_bytes, .what = "test"};
      request.outgoing.resize(2);
      const auto work = communicator_->exchange(std::move(request));
      wait(*communicator_, *work);
    });
  }

  // The fake's calls on a thread of their own, while rank 0 exchanges.
  void expect_error(const std::function<void(FakePeer&)>& calls, const std::string& part,
                    std::size_t max_bytes = 1 << 20) {
    FakePeer caller = peer();
    std::thread thread([&] { calls(caller); });
    EXPECT_THAT(error_of_exchange(max_bytes).what(), HasSubstr(part));
    communicator_.reset();
    thread.join();
  }

  Coordinator coordinator_;
  FakeWorker worker_;
  FakeMember fake_;
  v1::Welcome welcome_;
  std::unique_ptr<Communicator> communicator_;
};

TEST_F(BrokenPeer, IsNotHeardWithoutTheWorldsSecret) {
  FakePeer caller = peer();
  caller.greeting().set_world(std::string(kWorldKeyBytes, 'x'));
  EXPECT_EQ(caller.control({}).error_code(), Code::UNAUTHENTICATED);
  EXPECT_EQ(caller.send(1, 100'000, {}).error_code(), Code::UNAUTHENTICATED);
}

TEST_F(BrokenPeer, IsNotHeardUnderARankThatIsNone) {
  for (const std::uint32_t rank : {0u, 2u, 0xffffffffu}) {
    FakePeer caller = peer();
    caller.greeting().set_rank(rank);
    EXPECT_EQ(caller.control({}).error_code(), Code::INVALID_ARGUMENT) << rank;
    EXPECT_EQ(caller.send(1, 100'000, {}).error_code(), Code::INVALID_ARGUMENT) << rank;
  }
}

TEST_F(BrokenPeer, IsNotHeardInAnotherProtocol) {
  FakePeer caller = peer();
  caller.greeting().set_protocol(kProtocol + 1);
  const grpc::Status status = caller.control({});
  EXPECT_EQ(status.error_code(), Code::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("same release"));
}

TEST_F(BrokenPeer, IsRefusedASecondControlCall) {
  FakePeer first = peer(), second = peer();
  const auto stream = first.open_control({});
  v1::ControlReply reply;
  ASSERT_TRUE(stream->Read(&reply));
  EXPECT_EQ(second.control({}).error_code(), Code::ALREADY_EXISTS);
  first.control_context().TryCancel();
  stream->Finish();
}

TEST_F(BrokenPeer, IsRefusedLongMetadata) {
  FakePeer caller = peer();
  caller.control_context().AddMetadata("x-long", std::string(4 * kMaxMetadataBytes, 'x'));
  EXPECT_THAT(caller.control({}).error_code(),
              AnyOf(Code::RESOURCE_EXHAUSTED, Code::UNKNOWN, Code::INTERNAL, Code::UNAVAILABLE));
}

TEST_F(BrokenPeer, IsNamedForAMessageTooLargeToComeWhole) {
  expect_error([](FakePeer& caller) { caller.control({whole(1, kInlineBytes + 1)}); },
               "rank 1 left: it broke the protocol: control: expected a message of at most 4096 bytes");
}

TEST_F(BrokenPeer, IsNamedForAFrameOverTheLimit) {
  expect_error([](FakePeer& caller) { caller.control({whole(1, kMaxFrameBytes + 1)}); }, "rank 1 left");
}

TEST_F(BrokenPeer, IsNamedForWordsBehindItsGoodbye) {
  expect_error(
      [](FakePeer& caller) {
        caller.control({goodbye("enough"), whole(1, 1)});
      },
      "rank 1 left: enough");
}

TEST_F(BrokenPeer, IsNamedForAnAnnouncementOfEveryByteThereIs) {
  expect_error([](FakePeer& caller) { caller.send(1, std::uint64_t{1} << 63, {}); },
               "expected at most 1048576 bytes, it announced 9223372036854775808");
}

TEST_F(BrokenPeer, IsNamedForMoreBytesThanItAnnounced) {
  expect_error(
      [](FakePeer& caller) {
        caller.send(1, 10'000, {9'000, 9'000});
      },
      "expected a chunk of 1 to 131072 bytes, 9000 of 10000 received, found one of 9000");
}

TEST_F(BrokenPeer, IsNamedForAnEmptyChunk) {
  expect_error([](FakePeer& caller) { caller.send(1, 10'000, {0}); }, "found one of 0");
}

TEST_F(BrokenPeer, IsNamedForAMessageThatBreaksOff) {
  expect_error([](FakePeer& caller) { caller.send(1, 10'000, {9'000}); },
               "its message 1 broke off after 9000 of 10000 bytes");
}

TEST_F(BrokenPeer, IsNamedForTheSameMessageTwice) {
  expect_error(
      [](FakePeer& caller) {
        caller.control({whole(7, 10), whole(7, 10), goodbye("done")});
      },
      "sent seq 7 twice");
}

TEST_F(BrokenPeer, IsNamedForItsDeath) {
  expect_error(
      [](FakePeer& caller) {
        const auto stream = caller.open_control({});
        v1::ControlReply reply;
        stream->Read(&reply);
        caller.control_context().TryCancel();
        stream->Finish();
      },
      "rank 1 left");
}

// Far more than anybody asked for: bounded, and an error.
TEST_F(BrokenPeer, IsNamedForAFloodOfMessages) {
  expect_error(
      [](FakePeer& caller) {
        const auto stream = caller.open_control({});
        for (std::uint64_t sequence = 100; sequence < 20'000; ++sequence) {
          if (!stream->Write(whole(sequence, 10))) break;
        }
        caller.control_context().TryCancel();
        stream->Finish();
      },
      "far ahead of this rank");
}

}  // namespace
}  // namespace thinwire::comm
