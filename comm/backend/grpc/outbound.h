// What goes to one peer: the client side of the service Worker, over two connections, so that small and
// control messages never wait behind data.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "comm/backend/grpc/inbox.h"
#include "comm/backend/grpc/membership.h"
#include "comm/backend/grpc/tls_files.h"
#include "comm/clock.h"

namespace thinwire::comm {

// Thread safety: none.
class Outbound {
 public:
  struct Options {
    Member peer;
    int own_rank = 0;
    std::string world;
    double timeout_s = 60;
  };
  // Starts to connect.
  Outbound(const Options& options, const TlsFiles& tls, std::shared_ptr<Inbox> inbox);
  // Cancels what is under way.
  ~Outbound();

  void send(const OutgoingMessage& message);

  // The last words; messages under way are given up, and their bytes not read any more.
  void leave(std::string_view reason);
  // Waits until the peer has heard the last words, it is gone, or the time is over.
  void wait_until_heard(Clock::time_point deadline);

  // The peer has answered our greeting.
  bool connected() const;
  // Of everything sent, it is known whether it has left: the inbox holds that news.
  bool settled() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace thinwire::comm
