#include "comm/backend/grpc/listener.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "comm/clock.h"

namespace thinwire::comm {

namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

struct Connection {
  Descriptor watch;  // a duplicate: it outlives gRPC's own, and tells when that was shut down
  std::string peer;
  Clock::time_point born;
  bool greeted = false;
};

using Ends = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

Ends resolve(const Address& address) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* list = nullptr;
  const int code = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &list);
  if (code != 0) {
    throw std::runtime_error(
        fmt::format("cannot listen at {}: {}", to_string(address), ::gai_strerror(code)));
  }
  return {list, ::freeaddrinfo};
}

Descriptor listen_at(const Address& address) {
  const Ends ends = resolve(address);
  int error = 0;
  for (const addrinfo* end = ends.get(); end != nullptr; end = end->ai_next) {
    Descriptor fd(::socket(end->ai_family, end->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int on = 1;
    if (fd.get() >= 0 && ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        ::bind(fd.get(), end->ai_addr, end->ai_addrlen) == 0 && ::listen(fd.get(), 128) == 0) {
      return fd;
    }
    error = errno;
  }
  throw std::runtime_error(fmt::format("cannot listen at {}: {}; is another program there already?",
                                       to_string(address), std::strerror(error)));
}

Address address_of(const sockaddr_storage& storage, socklen_t size) {
  std::array<char, NI_MAXHOST> host;
  std::array<char, NI_MAXSERV> port;
  const auto* address = reinterpret_cast<const sockaddr*>(&storage);
  // An IPv4 peer of an IPv6 socket goes by its IPv4 address, as gRPC names it.
  const auto* six = reinterpret_cast<const sockaddr_in6*>(&storage);
  sockaddr_in four = {};
  if (storage.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
    four.sin_family = AF_INET;
    four.sin_port = six->sin6_port;
    std::memcpy(&four.sin_addr, &six->sin6_addr.s6_addr[12], sizeof(four.sin_addr));
    address = reinterpret_cast<const sockaddr*>(&four);
    size = sizeof(four);
  }
  if (::getnameinfo(address, size, host.data(), host.size(), port.data(), port.size(),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return {};
  }
  return {host.data(), static_cast<std::uint16_t>(std::stoi(port.data()))};
}

// gRPC writes "ipv4:127.0.0.1:40000" and "ipv6:%5B::1%5D:40000".
bool is_peer(const std::string& grpc_name, const std::string& peer) {
  const Address address = parse_address(peer, "peer");
  return grpc_name.ends_with(fmt::format(":{}", address.port)) &&
         grpc_name.find(address.host) != std::string::npos;
}

bool is_open(int fd) {
  tcp_info info = {};
  socklen_t size = sizeof(info);
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  return info.tcpi_state == TCP_ESTABLISHED || info.tcpi_state == TCP_CLOSE_WAIT ||
         info.tcpi_state == TCP_SYN_RECV;
}

}  // namespace

struct Listener::Impl {
  // Constant after construction.
  const Options options;
  Descriptor socket;
  Descriptor wake;
  Address address;

  // Owned by the owner's thread.
  std::thread thread;

  // Owned by the accepting thread.
  OnConnection on_connection;
  bool exhausted = false;

  // Guarded by mutex.
  mutable std::mutex mutex;
  bool stopping = false;
  std::vector<Connection> connections;

  explicit Impl(const Options& given)
      : options(given), socket(listen_at(given.address)), wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    sockaddr_storage bound = {};
    socklen_t size = sizeof(bound);
    ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size);
    // The host as it was given: certificates name it so.
    address = {given.address.host, address_of(bound, size).port};
  }

  void run();
  void sweep();
  bool accept_one();
  bool admit(int fd, const std::string& peer);
};

void Listener::Impl::run() {
  ::pthread_setname_np(::pthread_self(), "thinwire-accept");
  for (;;) {
    // Out of descriptors, the waiting connection would end every poll at once.
    const int listening = exhausted ? -1 : socket.get();
    std::array<pollfd, 2> waits = {pollfd{listening, POLLIN, 0}, pollfd{wake.get(), POLLIN, 0}};
    ::poll(waits.data(), waits.size(), 100);
    {
      const std::scoped_lock lock(mutex);
      if (stopping) return;
      sweep();
    }
    while (accept_one()) {
    }
  }
}

// Forgets connections that are gone and shuts those down that stayed silent. Under the mutex.
void Listener::Impl::sweep() {
  const auto now = Clock::now();
  std::erase_if(connections, [&](const Connection& connection) {
    if (!connection.greeted && now - connection.born > options.greeting_time) {
      ::shutdown(connection.watch.get(), SHUT_RDWR);
    }
    return !is_open(connection.watch.get());
  });
}

// False when nobody waits, or the system has no descriptor left.
bool Listener::Impl::accept_one() {
  sockaddr_storage from = {};
  socklen_t size = sizeof(from);
  Descriptor fd(
      ::accept4(socket.get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  exhausted = fd.get() < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM);
  if (fd.get() < 0) return errno == ECONNABORTED || errno == EINTR;
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (admit(fd.get(), to_string(address_of(from, size)))) on_connection(socket.get(), fd.release());
  return true;
}

bool Listener::Impl::admit(int fd, const std::string& peer) {
  const std::scoped_lock lock(mutex);
  if (connections.size() >= options.max_connections) return false;
  Descriptor watch(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (watch.get() < 0) return false;
  connections.push_back({std::move(watch), peer, Clock::now()});
  return true;
}

Listener::Listener(const Options& options) : impl_(std::make_unique<Impl>(options)) {}

Listener::~Listener() {
  stop();
}

Address Listener::address() const {
  return impl_->address;
}

void Listener::start(OnConnection on_connection) {
  impl_->on_connection = std::move(on_connection);
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });  // joined by stop(), before impl_ goes
}

void Listener::stop() {
  {
    const std::scoped_lock lock(impl_->mutex);
    impl_->stopping = true;
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(impl_->wake.get(), &one, sizeof(one));
  if (impl_->thread.joinable()) impl_->thread.join();
}

void Listener::greeted(const std::string& peer) {
  const std::scoped_lock lock(impl_->mutex);
  for (Connection& connection : impl_->connections) {
    if (!connection.greeted && is_peer(peer, connection.peer)) connection.greeted = true;
  }
}

std::size_t Listener::live_connections() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->connections.size();
}

}  // namespace thinwire::comm
