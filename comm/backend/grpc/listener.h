// Accepts TCP connections on behalf of a gRPC server, which would take any number of them: here is the cap on
// live connections, and the time in which each must have said who it is. Runs one thread, "thinwire-accept".
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "comm/backend/grpc/address.h"

namespace thinwire::comm {

class Listener {
 public:
  struct Options {
    Address address;  // port 0: the system chooses
    std::size_t max_connections = 64;
    std::chrono::milliseconds greeting_time{10'000};
  };
  // Takes the connection's descriptor over and closes it at some time; shutdown() on it comes first.
  using OnConnection = std::function<void(int listener_fd, int fd)>;

  // Binds and listens. Throws std::runtime_error that names the address and what the system said.
  explicit Listener(const Options& options);
  ~Listener();  // stops
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  Address address() const;  // as bound

  // Connections over the cap are closed at once; connections that are not greeted in time are shut down.
  void start(OnConnection on_connection);
  void stop();  // may be called twice

  // The connection with this peer (as gRPC writes it: "ipv4:127.0.0.1:40000") has said who it is. Any thread.
  void greeted(const std::string& peer);

  std::size_t live_connections() const;  // any thread

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace thinwire::comm
