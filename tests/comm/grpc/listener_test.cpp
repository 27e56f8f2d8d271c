#include "comm/backend/grpc/listener.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

namespace thinwire::comm {
namespace {

// A connected socket that says nothing.
class Caller {
 public:
  explicit Caller(const Address& address) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in end = {};
    end.sin_family = AF_INET;
    end.sin_port = htons(address.port);
    end.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&end), sizeof(end)) == 0;
  }
  ~Caller() { ::close(fd_); }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  bool connected() const { return connected_; }
  // The other side has ended the connection.
  bool ended_within(int milliseconds) const {
    pollfd wait = {fd_, POLLIN, 0};
    char byte = 0;
    return ::poll(&wait, 1, milliseconds) == 1 && ::recv(fd_, &byte, 1, MSG_DONTWAIT) <= 0;
  }
  std::string name() const {
    sockaddr_in own = {};
    socklen_t size = sizeof(own);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&own), &size);
    return "ipv4:127.0.0.1:" + std::to_string(ntohs(own.sin_port));
  }

 private:
  int fd_;
  bool connected_ = false;
};

// Holds what it is handed, as a gRPC server would, until the connection is shut down.
class Holder {
 public:
  ~Holder() { close_all(); }
  Listener::OnConnection taker() {
    return [this](int, int fd) {
      const std::scoped_lock lock(mutex_);
      fds_.push_back(fd);
    };
  }
  void close_all() {
    const std::scoped_lock lock(mutex_);
    for (const int fd : fds_) {
      ::shutdown(fd, SHUT_RDWR);
      ::close(fd);
    }
    fds_.clear();
  }

 private:
  std::mutex mutex_;
  std::vector<int> fds_;
};

constexpr int kPatient = 30'000;

template <class Condition>
bool comes_true(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatient);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

Listener::Options with(std::size_t max_connections, int greeting_ms, const char* host = "127.0.0.1") {
  return {.address = {host, 0},
          .max_connections = max_connections,
          .greeting_time = std::chrono::milliseconds(greeting_ms)};
}

TEST(Listener, EndsConnectionsOverItsCapAtOnce) {
  Holder holder;
  Listener listener(with(3, kPatient));
  listener.start(holder.taker());
  std::vector<std::unique_ptr<Caller>> callers;
  for (int i = 0; i < 3; ++i) {
    callers.push_back(std::make_unique<Caller>(listener.address()));
    ASSERT_TRUE(comes_true([&] { return listener.live_connections() == callers.size(); }));
  }
  const Caller late(listener.address());
  EXPECT_TRUE(late.ended_within(kPatient));
  EXPECT_EQ(listener.live_connections(), 3u);
}

TEST(Listener, HasRoomAgainWhenAConnectionIsGone) {
  Holder holder;
  Listener listener(with(1, kPatient));
  listener.start(holder.taker());
  const Caller first(listener.address());
  ASSERT_TRUE(comes_true([&] { return listener.live_connections() == 1; }));
  holder.close_all();
  ASSERT_TRUE(comes_true([&] { return listener.live_connections() == 0; }));
  const Caller second(listener.address());
  EXPECT_TRUE(comes_true([&] { return listener.live_connections() == 1; }));
}

// An IPv6 socket that IPv4 callers reach, as one at [::] is.
constexpr std::string_view kMappedHost = "::ffff:127.0.0.1";

class ListenerAt : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Hosts, ListenerAt, testing::Values("127.0.0.1", kMappedHost.data()));

TEST_P(ListenerAt, ShutsDownWhoStaysSilentAndKeepsWhoWasGreeted) {
  Holder holder;
  std::optional<Listener> maybe;
  try {
    maybe.emplace(with(8, 300, GetParam()));
  } catch (const std::runtime_error& error) {
    if (GetParam() != kMappedHost) throw;
    GTEST_SKIP() << "this machine has no IPv6: " << error.what();
  }
  Listener& listener = *maybe;
  listener.start(holder.taker());
  const Caller known(listener.address());
  ASSERT_TRUE(comes_true([&] { return listener.live_connections() == 1; }));
  listener.greeted(known.name());
  const Caller silent(listener.address());
  EXPECT_TRUE(silent.ended_within(kPatient));
  EXPECT_FALSE(known.ended_within(0));
  EXPECT_EQ(listener.live_connections(), 1u);
}

TEST(Listener, NamesAnAddressThatItCannotHave) {
  const Listener first(with(1, kPatient));
  try {
    const Listener second({.address = first.address()});
    FAIL() << "expected an error";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find(to_string(first.address())), std::string::npos) << error.what();
  }
  EXPECT_THROW(Listener({.address = {"no.such.host.invalid", 1}}), std::runtime_error);
}

TEST(Listener, SurvivesAFlood) {
  Holder holder;
  Listener listener(with(10, kPatient));
  listener.start(holder.taker());
  std::vector<std::unique_ptr<Caller>> flood;
  for (int i = 0; i < 200; ++i) flood.push_back(std::make_unique<Caller>(listener.address()));
  EXPECT_TRUE(comes_true([&] { return listener.live_connections() == 10; }));
  flood.clear();
  // Those that still waited come in as others go.
  EXPECT_TRUE(comes_true([&] {
    holder.close_all();
    return listener.live_connections() == 0;
  }));
}

}  // namespace
}  // namespace thinwire::comm
