#include "comm/backend/grpc/certificates.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "comm/backend/grpc/limits.h"
#include "comm/backend/grpc/openssl.h"

namespace thinwire::comm {

namespace {

namespace fs = std::filesystem;

// Empty for what is no plain file: a pipe would be waited for.
std::string read_file(const fs::path& path) {
  if (!fs::is_regular_file(path)) return {};
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A new file for this user alone.
void write_private(const fs::path& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const bool written = fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (fd >= 0 && !written) ::unlink(path.c_str());
  if (!written)
    throw std::runtime_error(fmt::format("{}: cannot be written: {}", path.string(), std::strerror(error)));
}

// One that is there already stays as open as it is: it may be the user's own, and the keys in it are private.
void make_private_folder(const fs::path& path) {
  if (fs::create_directories(path)) fs::permissions(path, fs::perms::owner_all);
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string to_pem(X509* certificate) {
  const ssl::Bio bio(BIO_new(BIO_s_mem()));
  ssl::check(PEM_write_bio_X509(bio.get(), certificate) == 1, "PEM_write_bio_X509");
  return text_of(bio.get());
}

std::string to_pem(EVP_PKEY* key) {
  const ssl::Bio bio(BIO_new(BIO_s_mem()));
  ssl::check(PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
             "PEM_write_bio_PrivateKey");
  return text_of(bio.get());
}

ssl::Key make_key() {
  ssl::Key key(EVP_EC_gen("P-256"));
  ssl::check(key != nullptr, "EVP_EC_gen");
  return key;
}

void add_extension(X509* certificate, X509* issuer, int what, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ssl::Extension extension(X509V3_EXT_conf_nid(nullptr, &context, what, value.c_str()));
  ssl::check(extension != nullptr, "X509V3_EXT_conf_nid");
  ssl::check(X509_add_ext(certificate, extension.get(), -1) == 1, "X509_add_ext");
}

struct Subject {
  std::string name;
  int days = 0;
};

// Unsigned, without extensions. issuer null: its own.
ssl::Certificate draft(const Subject& subject, EVP_PKEY* key, X509* issuer) {
  ssl::Certificate certificate(X509_new());
  ssl::check(certificate != nullptr, "X509_new");
  X509* raw = certificate.get();
  ssl::check(X509_set_version(raw, 2) == 1, "X509_set_version");  // counts from 0: version 3
  BIGNUM* serial = BN_new();
  const bool drawn = BN_rand(serial, 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
                     BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(raw)) != nullptr;
  BN_free(serial);
  ssl::check(drawn, "BN_rand");
  // A day of grace for clocks that go slow. Expired ones must have begun before they ended.
  const long day = 86400;
  X509_gmtime_adj(X509_getm_notBefore(raw), -day + day * std::min(0, subject.days - 1));
  X509_gmtime_adj(X509_getm_notAfter(raw), day * subject.days);
  X509_NAME* name = X509_get_subject_name(raw);
  ssl::check(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                        reinterpret_cast<const unsigned char*>(subject.name.c_str()), -1, -1,
                                        0) == 1,
             "X509_NAME_add_entry_by_txt");
  ssl::check(X509_set_issuer_name(raw, issuer == nullptr ? name : X509_get_subject_name(issuer)) == 1,
             "X509_set_issuer_name");
  ssl::check(X509_set_pubkey(raw, key) == 1, "X509_set_pubkey");
  return certificate;
}

void sign(X509* certificate, EVP_PKEY* key) {
  ssl::check(X509_sign(certificate, key, EVP_sha256()) > 0, "X509_sign");
}

struct Authority {
  ssl::Certificate certificate;
  ssl::Key key;
};

Authority make_authority(int days) {
  Authority authority{.certificate = nullptr, .key = make_key()};
  authority.certificate =
      draft({.name = "thinwire CA", .days = std::max(days, 1)}, authority.key.get(), nullptr);
  X509* raw = authority.certificate.get();
  add_extension(raw, raw, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  add_extension(raw, raw, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(raw, raw, NID_subject_key_identifier, "hash");
  sign(raw, authority.key.get());
  return authority;
}

Authority open_or_make_authority(const fs::path& dir, int days) {
  if (!fs::exists(dir / "ca.key")) {
    Authority authority = make_authority(days);
    write_private(dir / "ca.key", to_pem(authority.key.get()));
    write_private(dir / "ca.crt", to_pem(authority.certificate.get()));
    return authority;
  }
  Authority authority{.certificate = ssl::certificate_from(read_file(dir / "ca.crt")),
                      .key = ssl::key_from(read_file(dir / "ca.key"))};
  if (authority.certificate && authority.key &&
      X509_check_private_key(authority.certificate.get(), authority.key.get()) == 1) {
    return authority;
  }
  throw std::runtime_error(fmt::format(
      "{}: expected ca.crt and its ca.key, found files that are none; choose another folder", dir.string()));
}

bool is_address(const std::string& host) {
  return host.find(':') != std::string::npos || host.find_first_not_of("0123456789.") == std::string::npos;
}

std::string alternative_names(const std::string& name, const std::vector<std::string>& hosts) {
  std::string names = "DNS:" + name + ",DNS:localhost,IP:127.0.0.1,IP:::1";
  for (const std::string& host : hosts) names += (is_address(host) ? ",IP:" : ",DNS:") + host;
  return names;
}

void make_member(const fs::path& dir, const std::string& name, const CertificateOptions& options,
                 const Authority& authority) {
  const ssl::Key key = make_key();
  X509* issuer = authority.certificate.get();
  const ssl::Certificate certificate = draft({.name = name, .days = options.days}, key.get(), issuer);
  X509* raw = certificate.get();
  add_extension(raw, issuer, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(raw, issuer, NID_key_usage, "critical,digitalSignature");
  add_extension(raw, issuer, NID_ext_key_usage, "serverAuth,clientAuth");
  add_extension(raw, issuer, NID_subject_alt_name, alternative_names(name, options.hosts));
  add_extension(raw, issuer, NID_authority_key_identifier, "keyid");
  sign(raw, authority.key.get());
  make_private_folder(dir);
  write_private(dir / "ca.crt", to_pem(issuer));
  write_private(dir / "worker.crt", to_pem(raw));
  write_private(dir / "worker.key", to_pem(key.get()));
}

// Names end up in paths and in certificates, hosts in certificates.
void check_names(const char* what, const std::vector<std::string>& names, const char* allowed) {
  for (const std::string& name : names) {
    const bool good = !name.empty() && name.size() <= kMaxNameBytes && name.front() != '.' &&
                      name.find_first_not_of(allowed) == std::string::npos;
    if (good) continue;
    throw std::invalid_argument(fmt::format("{}: expected 1 to {} of letters, digits and .-_, found \"{}\"",
                                            what, kMaxNameBytes, name));
  }
}

constexpr const char* kNameLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";
constexpr const char* kHostLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:";

}  // namespace

std::vector<std::string> make_certificates(const CertificateOptions& options) {
  check_names("name", options.names, kNameLetters);
  check_names("host", options.hosts, kHostLetters);
  const fs::path dir = options.dir;
  if (fs::exists(dir) && !fs::is_directory(dir))
    throw std::invalid_argument(dir.string() + ": expected a folder or nothing there, found a file");
  for (const std::string& name : options.names) {
    if (!fs::exists(dir / name)) continue;
    throw std::runtime_error(fmt::format("{}: exists already; remove it to make a new certificate for {}",
                                         (dir / name).string(), name));
  }
  make_private_folder(dir);
  const Authority authority = open_or_make_authority(dir, options.days);
  std::vector<std::string> folders;
  for (const std::string& name : options.names) {
    make_member(dir / name, name, options, authority);
    folders.push_back((dir / name).string());
  }
  return folders;
}

}  // namespace thinwire::comm
