#include "comm/backend/grpc/tls_files.h"

#include <fmt/format.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "comm/backend/grpc/openssl.h"

namespace thinwire::comm {

namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kMaxPemBytes = 1 << 20;

[[noreturn]] void refuse(const fs::path& path, const std::string& problem) {
  throw std::invalid_argument(
      fmt::format("--tls: {}: {}; make it with `thinwire certs`", path.string(), problem));
}

std::string read_pem(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) refuse(path, "expected a PEM file, found " + error.message());
  if (size > kMaxPemBytes)
    refuse(path, fmt::format("expected at most {} bytes, found {}", kMaxPemBytes, size));
  std::ifstream file(path, std::ios::binary);
  std::string text(size, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(size))) refuse(path, "cannot be read");
  return text;
}

std::string text_of(const ASN1_TIME* time) {
  std::tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "an unreadable time";
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02} UTC", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min);
}

void check_dates(const fs::path& path, const X509* certificate) {
  if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
    refuse(path, "expected a certificate that holds, this one expired at " +
                     text_of(X509_get0_notAfter(certificate)));
  }
  if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
    refuse(path, "expected a certificate that holds, this one begins at " +
                     text_of(X509_get0_notBefore(certificate)) + "; compare the clocks");
  }
}

void check_signed_by(const fs::path& path, X509* certificate, X509* ca) {
  const ssl::Store store(X509_STORE_new());
  const ssl::StoreContext context(X509_STORE_CTX_new());
  ssl::check(store && context && X509_STORE_add_cert(store.get(), ca) == 1 &&
                 X509_STORE_CTX_init(context.get(), store.get(), certificate, nullptr) == 1,
             "X509_STORE_CTX_init");
  if (X509_verify_cert(context.get()) == 1) return;
  refuse(path, fmt::format("expected a certificate of the CA in ca.crt, found: {}",
                           X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()))));
}

}  // namespace

TlsFiles read_tls_files(const std::string& dir) {
  if (dir.empty()) return {};
  const fs::path folder = dir;
  const fs::path ca_path = folder / "ca.crt", certificate_path = folder / "worker.crt",
                 key_path = folder / "worker.key";
  TlsFiles files{
      .ca = read_pem(ca_path), .certificate = read_pem(certificate_path), .key = read_pem(key_path)};
  const ssl::Certificate ca = ssl::certificate_from(files.ca);
  const ssl::Certificate certificate = ssl::certificate_from(files.certificate);
  const ssl::Key key = ssl::key_from(files.key);
  if (!ca) refuse(ca_path, "expected a certificate in PEM, found none");
  if (!certificate) refuse(certificate_path, "expected a certificate in PEM, found none");
  if (!key) refuse(key_path, "expected a private key in PEM, found none");
  check_dates(ca_path, ca.get());
  check_dates(certificate_path, certificate.get());
  check_signed_by(certificate_path, certificate.get(), ca.get());
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    refuse(key_path, "expected the key of worker.crt beside it, found another");
  }
  return files;
}

}  // namespace thinwire::comm
