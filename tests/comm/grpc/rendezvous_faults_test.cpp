// What workers and coordinators do with those who should not be there, stay away, or fall silent: an error
// that names it, before a deadline, and a process that goes on.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>

#include "comm/backend/grpc/certificates.h"
#include "comm/control.h"
#include "tests/comm/grpc/fake_member.h"
#include "tests/comm/grpc/grpc_world.h"
#include "tests/trainer/temporary_folder.h"

namespace thinwire::comm {
namespace {

using testing::HasSubstr;

constexpr double kShort = 3;     // tests of deadlines wait for it
constexpr double kPatient = 60;  // no test waits for it

// Waits only for a moment.
BackendOptions hasty(const std::string& coordinator) {
  BackendOptions options = grpc_options(coordinator, kShort);
  options.grpc.rendezvous_s = kShort;
  return options;
}

std::string join_error(const BackendOptions& options) {
  try {
    connect(options);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

// A world of two still comes about at this coordinator.
void expect_world_of_two(Coordinator& coordinator, const GrpcOptions& wanted = {}) {
  run_ranks(2, [&](int) {
    BackendOptions options{.name = "grpc", .timeout_s = kPatient, .grpc = wanted};
    options.grpc.coordinator = coordinator.address();
    const auto communicator = connect(options);
    barrier(*communicator, 1);
  });
  EXPECT_EQ(coordinator.wait().end, Coordinator::End::kFinished);
}

TEST(Rendezvous, RefusesAWrongTokenAndGoesOn) {
  Coordinator coordinator({.workers = 2, .token = "right", .join_timeout_s = 60});
  BackendOptions options = grpc_options(coordinator.address(), kPatient);
  options.grpc.token = "wrong";
  EXPECT_THROW(connect(options), std::invalid_argument);
  EXPECT_THAT(join_error(options), HasSubstr("expected the coordinator's, found another"));
  expect_world_of_two(coordinator, {.token = "right"});
}

TEST(Rendezvous, RefusesAConfigThatDiffers) {
  Coordinator coordinator({.workers = 2, .join_timeout_s = 60});
  FakeMember first(coordinator.address());
  first.join(FakeMember::join_message("first", "127.0.0.1:1"));
  ASSERT_TRUE(first.hear()->has_admitted());
  BackendOptions options = grpc_options(coordinator.address(), kPatient);
  options.grpc.config_digest = "other";
  options.grpc.config = "lr = 1";
  EXPECT_THROW(connect(options), std::invalid_argument);
  EXPECT_THAT(join_error(options), HasSubstr("found `lr = 1`"));
}

TEST(Rendezvous, NamesTheDeadlineWhenWorkersStayAway) {
  Coordinator coordinator({.workers = 2, .join_timeout_s = kShort});
  auto outcome = std::async(std::launch::async, [&] { return coordinator.wait(); });
  const CommError error = expect_comm_error([&] { connect(grpc_options(coordinator.address(), kPatient)); });
  EXPECT_EQ(error.kind(), CommError::Kind::kTimeout);
  EXPECT_THAT(error.what(), HasSubstr("expected 2 workers within 3.0 s, 1 of 2 workers came"));
  EXPECT_EQ(outcome.get().end, Coordinator::End::kIncomplete);
}

TEST(Rendezvous, NamesACoordinatorThatIsNotThere) {
  std::string address;
  {
    const Coordinator gone({.workers = 1});
    address = gone.address();
  }
  const CommError error = expect_comm_error([&] { connect(hasty(address)); });
  EXPECT_EQ(error.kind(), CommError::Kind::kTimeout);
  EXPECT_THAT(error.what(), HasSubstr(address));
}

// Listens, and never answers.
class Silence {
 public:
  Silence() : listener_({.address = {"127.0.0.1", 0}}) {
    listener_.start([this](int, int fd) { fds_.push_back(fd); });
  }
  ~Silence() {
    listener_.stop();
    for (const int fd : fds_) ::close(fd);
  }
  std::string address() const { return to_string(listener_.address()); }

 private:
  Listener listener_;
  std::vector<int> fds_;
};

TEST(Rendezvous, NamesACoordinatorThatIsSilent) {
  const Silence silence;
  const CommError error = expect_comm_error([&] { connect(hasty(silence.address())); });
  EXPECT_EQ(error.kind(), CommError::Kind::kTimeout);
  EXPECT_THAT(error.what(), HasSubstr(silence.address()));
}

TEST(Rendezvous, NamesAPeerThatTakesConnectionsAndIsSilent) {
  Coordinator coordinator({.workers = 2, .join_timeout_s = 60});
  const Silence silence;
  FakeMember fake(coordinator.address());
  fake.join(FakeMember::join_message("silent", silence.address()));
  const CommError error = expect_comm_error([&] {
    const auto communicator = connect(hasty(coordinator.address()));
    barrier(*communicator, 1);
  });
  EXPECT_EQ(error.kind(), CommError::Kind::kPeerLost);
  EXPECT_THAT(error.what(), HasSubstr("it took no connection at " + silence.address() + " within 3.0 s"));
  fake.die();
}

TEST(Rendezvous, NamesAPeerThatDiesToTheOthers) {
  Coordinator coordinator({.workers = 2, .join_timeout_s = 60});
  const FakeWorker answers;
  auto fake = std::make_unique<FakeMember>(coordinator.address());
  v1::Join join = FakeMember::join_message("mortal", answers.address());
  join.set_rank(1);
  fake->join(join);
  const CommError error = expect_comm_error([&] {
    const auto communicator = connect(grpc_options(coordinator.address(), kPatient));
    const auto work = communicator->exchange(barrier_request(*communicator, 1));
    fake->die();
    wait(*communicator, *work);
  });
  EXPECT_EQ(error.kind(), CommError::Kind::kPeerLost);
  EXPECT_THAT(error.what(), HasSubstr("rank 1 left: its connection to the coordinator broke"));
  const auto outcome = coordinator.wait();
  EXPECT_EQ(outcome.end, Coordinator::End::kBroken);
  EXPECT_THAT(outcome.text, HasSubstr("worker 1 (mortal)"));
}

TEST(Rendezvous, EndsACallThatBreaksTheProtocol) {
  Coordinator coordinator({.workers = 2, .join_timeout_s = 60});
  v1::FromWorker leave_first;
  leave_first.mutable_leave()->set_finished(true);
  FakeMember rude(coordinator.address());
  rude.say(leave_first);
  EXPECT_EQ(rude.end().error_code(), grpc::StatusCode::INVALID_ARGUMENT);

  FakeMember twice(coordinator.address());
  twice.join(FakeMember::join_message("twice", "127.0.0.1:1"));
  twice.join(FakeMember::join_message("twice", "127.0.0.1:1"));
  EXPECT_EQ(twice.end().error_code(), grpc::StatusCode::INVALID_ARGUMENT);

  FakeMember large(coordinator.address());
  v1::Join join = FakeMember::join_message("large", "127.0.0.1:1");
  join.set_config(std::string(kMaxFrameBytes + 1, 'x'));
  large.join(join);
  EXPECT_EQ(large.end().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);

  FakeMember named(coordinator.address());
  named.join(FakeMember::join_message(std::string(kMaxNameBytes + 1, 'n'), "127.0.0.1:1"));
  EXPECT_EQ(named.end().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  expect_world_of_two(coordinator);
}

TEST(Rendezvous, SurvivesAFloodOfConnections) {
  Coordinator coordinator({.workers = 2, .join_timeout_s = 60});
  const Address address = parse_address(coordinator.address(), "");
  std::vector<int> flood;
  for (int i = 0; i < 400; ++i) {
    sockaddr_in end = {};
    end.sin_family = AF_INET;
    end.sin_port = htons(address.port);
    end.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    flood.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ::connect(flood.back(), reinterpret_cast<sockaddr*>(&end), sizeof(end));
    if (i % 2 == 0) ::send(flood.back(), "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL);
  }
  for (const int fd : flood) ::close(fd);
  expect_world_of_two(coordinator);
}

// ---- TLS --------------------------------------------------------------------------------------------------

class Tls : public testing::Test {
 protected:
  std::string certificates(const std::string& authority, const std::string& name) const {
    return make_certificates({.dir = folder_ / authority, .names = {name}}).front();
  }
  const test::TemporaryFolder folder_;
};

TEST_F(Tls, CarriesAWorldWithATokenAndLargeMessages) {
  Coordinator coordinator({.workers = 3, .token = "t", .tls_dir = certificates("ca", "coordinator")});
  const std::string own[] = {certificates("ca", "a"), certificates("ca", "b"), certificates("ca", "c")};
  run_ranks(3, [&](int rank) {
    BackendOptions options = grpc_options(coordinator.address(), kPatient);
    options.grpc.tls_dir = own[rank];
    options.grpc.token = "t";
    options.grpc.rank = rank;
    const auto communicator = connect(options);
    for (int root = 0; root < 3; ++root) {
      const Buffer mine = rank == root ? pattern(1'000'000, root, 0, 0) : Buffer();
      EXPECT_TRUE(broadcast(*communicator, root, root, mine, 1'000'000) == pattern(1'000'000, root, 0, 0));
    }
  });
}

TEST_F(Tls, RefusesAWorkerOfAnotherAuthorityAndGoesOn) {
  Coordinator coordinator({.workers = 2, .tls_dir = certificates("ca", "coordinator")});
  BackendOptions options = hasty(coordinator.address());
  options.grpc.tls_dir = certificates("another", "a");
  EXPECT_THAT(join_error(options), HasSubstr("certificate"));
  expect_world_of_two(coordinator, {.tls_dir = certificates("ca", "worker")});
}

TEST_F(Tls, RefusesAWorkerWithoutCertificates) {
  Coordinator coordinator({.workers = 2, .tls_dir = certificates("ca", "coordinator")});
  EXPECT_THAT(join_error(hasty(coordinator.address())), HasSubstr("--tls"));
  expect_world_of_two(coordinator, {.tls_dir = certificates("ca", "worker")});
}

TEST_F(Tls, RefusesACoordinatorWithoutCertificates) {
  const Coordinator coordinator({.workers = 1});
  BackendOptions options = hasty(coordinator.address());
  options.grpc.tls_dir = certificates("ca", "a");
  EXPECT_THAT(join_error(options), HasSubstr("TLS on both sides"));
}

TEST_F(Tls, NamesAnExpiredCertificateBeforeItCalls) {
  const auto expired = make_certificates({.dir = folder_ / "ca", .names = {"old"}, .days = -1}).front();
  BackendOptions options = hasty("127.0.0.1:1");
  options.grpc.tls_dir = expired;
  EXPECT_THAT(join_error(options), HasSubstr("expired at"));
  EXPECT_THROW(Coordinator({.workers = 1, .tls_dir = expired}), std::invalid_argument);
}

std::string text_of_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A worker that does not look at its own certificate.
TEST_F(Tls, IsRefusedByTheCoordinatorWithAnExpiredCertificate) {
  const std::string good = certificates("ca", "coordinator");
  const auto expired = make_certificates({.dir = folder_ / "ca", .names = {"old"}, .days = -1}).front();
  Coordinator coordinator({.workers = 2, .tls_dir = good});
  const TlsFiles tls{.ca = text_of_file(good + "/ca.crt"),
                     .certificate = text_of_file(expired + "/worker.crt"),
                     .key = text_of_file(expired + "/worker.key")};
  const auto stub = v1::Coordinator::NewStub(make_channel({.address = coordinator.address()}, tls));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  const auto stream = stub->Attend(&context);
  v1::FromWorker words;
  *words.mutable_join() = FakeMember::join_message("old", "127.0.0.1:1");
  stream->Write(words);
  v1::ToWorker answer;
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  expect_world_of_two(coordinator, {.tls_dir = certificates("ca", "worker")});
}

TEST_F(Tls, IsAskedForOnAnyAddressButLoopback) {
  EXPECT_THROW(Coordinator({.listen = "0.0.0.0:0", .workers = 1}), std::invalid_argument);
  BackendOptions options = hasty("192.0.2.1:7000");
  EXPECT_THROW(connect(options), std::invalid_argument);
  options = hasty("127.0.0.1:7000");
  options.grpc.listen = "192.0.2.1:0";
  EXPECT_THROW(connect(options), std::invalid_argument);
  EXPECT_THAT(join_error(options), HasSubstr("thinwire certs"));
}

}  // namespace
}  // namespace thinwire::comm
