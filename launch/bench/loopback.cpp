#include "launch/bench/loopback.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <future>
#include <system_error>
#include <utility>
#include <vector>

namespace thinwire::launch {
namespace {

int checked(int result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

class Socket {
 public:
  explicit Socket(int descriptor) : descriptor_(checked(descriptor, "socket")) {}
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket& operator=(Socket&&) = delete;
  ~Socket() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

std::pair<Socket, Socket> connect_two() {
  const Socket listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  checked(::bind(listener.get(), generic, length), "bind");
  checked(::listen(listener.get(), 1), "listen");
  checked(::getsockname(listener.get(), generic, &length), "getsockname");
  Socket first(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  checked(::connect(first.get(), generic, length), "connect");
  Socket second(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  for (const Socket* one : {&first, &second}) {
    const int yes = 1;
    checked(::setsockopt(one->get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes), "TCP_NODELAY");
  }
  return {std::move(first), std::move(second)};
}

// Sends and receives as many bytes as the buffers hold, both at once.
void exchange(const Socket& socket, const std::vector<char>& outgoing, std::vector<char>& incoming) {
  std::size_t sent = 0, received = 0;
  while (sent < outgoing.size() || received < incoming.size()) {
    pollfd wait{socket.get(), POLLIN, 0};
    if (sent < outgoing.size()) wait.events |= POLLOUT;
    checked(::poll(&wait, 1, -1), "poll");
    if ((wait.revents & POLLOUT) != 0) {
      const ssize_t n =
          ::send(socket.get(), outgoing.data() + sent, outgoing.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) sent += static_cast<std::size_t>(n);
    }
    if ((wait.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
      const ssize_t n =
          ::recv(socket.get(), incoming.data() + received, incoming.size() - received, MSG_DONTWAIT);
      if (n == 0) throw std::system_error(ECONNRESET, std::generic_category(), "loopback");
      if (n > 0) received += static_cast<std::size_t>(n);
    }
  }
}

}  // namespace

double loopback_exchange_seconds(std::size_t bytes, int count) {
  const auto sockets = connect_two();
  const auto side = [bytes, count](const Socket& socket) {
    const std::vector<char> outgoing(bytes, 1);
    std::vector<char> incoming(bytes);
    exchange(socket, outgoing, incoming);  // both are there, the memory is touched
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < count; ++i) exchange(socket, outgoing, incoming);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / count;
  };
  auto other = std::async(std::launch::async, [&] { return side(sockets.second); });
  const double seconds = side(sockets.first);
  other.get();
  return seconds;
}

}  // namespace thinwire::launch
