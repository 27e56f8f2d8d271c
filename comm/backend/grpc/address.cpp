#include "comm/backend/grpc/address.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <charconv>
#include <cstring>
#include <memory>
#include <stdexcept>

namespace thinwire::comm {

Address parse_address(const std::string& text, const std::string& what) {
  const auto colon = text.rfind(':');
  Address address;
  bool good = colon != std::string::npos && colon > 0;
  if (good) {
    address.host = text.substr(0, colon);
    const bool bracketed = address.host.front() == '[' && address.host.back() == ']';
    if (bracketed) address.host = address.host.substr(1, address.host.size() - 2);
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data() + colon + 1, end, address.port);
    good = parsed.ec == std::errc() && parsed.ptr == end && !address.host.empty() &&
           (bracketed || address.host.find(':') == std::string::npos);
  }
  if (good) return address;
  throw std::invalid_argument(
      fmt::format("{}: expected HOST:PORT, as in 127.0.0.1:7000 or [::1]:7000, found \"{}\"", what, text));
}

std::string to_string(const Address& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", v6 ? "[" : "", address.host, v6 ? "]" : "", address.port);
}

namespace {

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, address, sizeof(v4));
    return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
  }
  if (address->sa_family != AF_INET6) return false;
  sockaddr_in6 v6;
  std::memcpy(&v6, address, sizeof(v6));
  return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

}  // namespace

bool is_loopback(const std::string& host) {
  addrinfo* list = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, nullptr, &list) != 0) return false;
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, ::freeaddrinfo);
  bool all = list != nullptr;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    all = all && is_loopback(entry->ai_addr);
  }
  return all;
}

void require_tls_or_loopback(const Address& address, const std::string& tls_dir, const std::string& what) {
  if (!tls_dir.empty() || is_loopback(address.host)) return;
  throw std::invalid_argument(
      fmt::format("{}: {} can be reached from other machines, so certificates are needed: make them with "
                  "`thinwire certs`, and give --tls; or use 127.0.0.1",
                  what, to_string(address)));
}

}  // namespace thinwire::comm
