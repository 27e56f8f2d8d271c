// gRPC servers and channels with our limits. For sources of this folder only: it includes gRPC's headers.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

#include "comm/backend/grpc/listener.h"
#include "comm/backend/grpc/tls_files.h"

namespace thinwire::comm {

struct ChannelOptions {
  std::string address;
  // A silent peer shows after about twice this; 0: no pings, for connections whose answers queue behind data.
  std::chrono::milliseconds keepalive{0};
};

// A channel with a connection of its own, which is made when the first call needs it.
std::shared_ptr<grpc::Channel> make_channel(const ChannelOptions& options, const TlsFiles& tls);

// A server behind our own listener.
class GuardedServer {
 public:
  struct Options {
    Address address;
    std::size_t max_connections = 64;
    std::chrono::milliseconds keepalive{0};  // as of a channel
  };
  // Listens; serves from start() on. service must outlive this.
  GuardedServer(const Options& options, const TlsFiles& tls, grpc::Service& service);
  ~GuardedServer();
  GuardedServer(const GuardedServer&) = delete;
  GuardedServer& operator=(const GuardedServer&) = delete;

  Address address() const { return listener_.address(); }
  Listener& listener() { return listener_; }
  // Cancels the calls that remain. May be called twice.
  void stop();

 private:
  Listener listener_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
};

// gRPC's own log and Protobuf's go nowhere unless GRPC_VERBOSITY asks for them: what matters is in our
// errors, and a peer whose messages are not UTF-8 must not fill this worker's log.
void settle_grpc_log();

// A status as one line: "UNAVAILABLE: connection refused".
std::string to_string(const grpc::Status& status);

}  // namespace thinwire::comm
